"""The progress of a run: two lines on a terminal, the run as a whole and what it does now; where there is no terminal, only a
line for each job that is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from xkeb.cli.echo import plain
from xkeb.cli.notices import HeldNotices
from xkeb.cli.output import make_console
from xkeb.cli.time_left import RunProgress, in_words
from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.results.lines import CaseRecord
from xkeb.results.result import Result

BAR = 12
"""Columns of the bar."""
PHASES = {"before": "answers before any edit", "fit": "learning", "edit": "editing"}


class _Pace(ProgressColumn):
    """Of the run, what is done and how long it will still take; of a phase, how many of its steps, and seconds of one, over the
    whole phase: cases end in batches, which would make a moving average jump."""

    def __init__(self, run: RunProgress | None) -> None:
        super().__init__()
        self.run = run

    def render(self, task: Task) -> Text:
        if self.run is not None and task.fields.get("whole"):
            left = self.run.seconds_left()
            parts = [f"{self.run.done:,} of {self.run.total:,} cases"]
            return Text(", ".join([*parts, *([] if left is None else [f"{in_words(left)} left"])]))
        if task.total is None:
            return Text("")
        parts = [f"{task.completed:g} of {task.total:g}"]
        count = task.completed - task.fields["before"]
        if count > 0 and task.elapsed:
            seconds = task.elapsed / count
            parts.append(f"{seconds:.1f} s each" if seconds >= 1 else f"{1 / seconds:.1f} a second")
        return Text(", ".join(parts))


class ProgressDisplay(RunObserver):
    """Shows a run while it is entered as a context. What libraries have to say meanwhile is told when it is left."""

    def __init__(self) -> None:
        self.out = make_console(stderr=True)
        self.run: RunProgress | None = None
        self.bars = self._make_bars()
        self.notices = HeldNotices(self.out)
        self.name = ""
        self.short = ""
        self.options = ""
        self.task: Any = None

    def _make_bars(self) -> Progress:
        # What says where the run is gives way where the terminal is narrow; the numbers don't.
        words = TextColumn("{task.description}", markup=False)
        words._table_column = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        return Progress(
            SpinnerColumn(),
            words,
            BarColumn(bar_width=BAR),
            _Pace(self.run),
            console=self.out,
            disable=not self.out.is_terminal,
            transient=True,
            expand=True,
        )

    def __enter__(self) -> Self:
        self.notices.hold()
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()
        self.notices.tell()

    def run_started(self, jobs: Sequence[Job], config: RunConfig) -> None:
        self.run = RunProgress.of(jobs)
        self.bars.stop()
        self.bars = self._make_bars()
        self.bars.start()
        self.task = None
        self.whole = self.bars.add_task("", total=self.run.total or None, before=0, whole=True)
        self._show_whole()

    def _show_whole(self) -> None:
        if self.run is not None:
            where = f"job {max(self.run.number, 1)} of {self.run.jobs}"
            self.bars.update(self.whole, completed=self.run.done, description=where)

    def _begin(self, description: str, count: int, total: int | None) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
        self.task = self.bars.add_task(plain(description), total=total, completed=count, before=count)

    def model_loading(self, name: str) -> None:
        self._begin(f"loading {name}", 0, None)

    def job_started(self, job: Job) -> None:
        self.name = job.name
        self.short = f"{job.method}, {job.task.name}, {job.model}"  # the terminal may cut off the end
        if self.run is not None:
            self.run.job_started(job.name)
        self._begin(self.short, 0, None)
        self._show_whole()

    def phase_started(self, name: str, done: int = 0, total: int | None = None) -> None:
        if self.run is not None and name == "edit":
            self.run.edits_started((total or 0) - done)
        self._begin(f"{PHASES[name]}: {self.short}", done, total)
        self._show_whole()

    def job_configured(self, job: Job, options: Mapping[str, Any]) -> None:
        self.options = ", ".join(f"{name}={value}" for name, value in options.items() if value is not None)

    def progress(self, what: str, done: int, total: int) -> None:
        if self.task is None or self.bars.tasks[-1].total != total:
            self._begin(what, max(done - 1, 0), total)
        self.bars.update(self.task, completed=done, description=plain(f"{what}: {self.short}"))

    def batch_shrunk(self, size: int) -> None:
        self.say(f"{self.name}: memory ran out; from here on, at most {size} of its cases at once")

    def case_done(self, case_id: str, record: CaseRecord | None, protocol: str) -> None:
        if self.run is not None and record is not None:
            self.run.case_done()
            self._show_whole()
        self.bars.advance(self.task)

    def say(self, line: str) -> None:
        """Prints a line above the bars."""
        self.out.print(line, soft_wrap=True)

    def job_done(self, job: Job, result: Result) -> None:
        self._end_job()
        self.say(
            f"{job.name_under(result.protocol)}: {len(result.case_ids)} cases in {result.timing.wall_seconds:.0f} s"
        )
        self.out.print(f"  {self.options}", style="dim", soft_wrap=True)

    def job_failed(self, job: Job, error: Exception) -> None:
        self._end_job()
        if not isinstance(error, RequestError):  # which is told whole, in one sentence, at the end
            self.say(f"{job.name}: failed ({type(error).__name__})")

    def _end_job(self) -> None:
        if self.run is not None:
            self.run.job_ended()
            self._show_whole()
