"""The progress of a run: bars on a terminal, a line a job where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
)
from rich.text import Text

from xkeb.cli.echo import plain
from xkeb.cli.output import make_console
from xkeb.errors import RequestError
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.results.schema import CaseRecord, Result


class _Pace(ProgressColumn):
    """Seconds a case or step, or how many a second, and the time left, over the whole phase: cases end in batches, which
    would make a moving average jump."""

    def render(self, task: Task) -> Text:
        count = task.completed - task.fields["before"]
        if not count or not task.elapsed or task.total is None:
            return Text("")
        seconds = task.elapsed / count
        rest = timedelta(seconds=round(seconds * (task.total - task.completed)))
        return Text(
            f"{seconds:.1f} s each, {rest} left" if seconds >= 1 else f"{1 / seconds:.1f} a second, {rest} left"
        )


PHASES = {"before": "answers before any edit", "fit": "learning", "edit": "editing"}


class ProgressDisplay(RunObserver):
    """Progress bars on a terminal; a line a job where there is none. To be entered as a context."""

    def __init__(self) -> None:
        self.out = make_console(stderr=True)
        self.bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            _Pace(),
            console=self.out,
            disable=not self.out.is_terminal,
            transient=True,
        )
        self.name = ""
        self.options = ""
        self.task: Any = None

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def _begin(self, description: str, count: int, total: int | None) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
        self.task = self.bars.add_task(plain(description), total=total, completed=count, before=count)

    def model_loading(self, name: str) -> None:
        self._begin(f"loading {name}", 0, None)

    def job_started(self, job: Job) -> None:
        self.name = job.name
        self._begin(job.name, 0, None)

    def phase_started(self, name: str, done: int = 0, total: int | None = None) -> None:
        self._begin(f"{self.name}: {PHASES[name]}", done, total)

    def job_configured(self, job: Job, options: Mapping[str, Any]) -> None:
        self.options = ", ".join(f"{name}={value}" for name, value in options.items() if value is not None)

    def progress(self, what: str, done: int, total: int) -> None:
        if self.task is None or self.bars.tasks[0].total != total:
            self._begin(what, max(done - 1, 0), total)
        self.bars.update(self.task, completed=done, description=plain(f"{self.name}: {what}"))

    def batch_shrunk(self, size: int) -> None:
        self.say(f"{self.name}: memory ran out; from here on, at most {size} of its cases at once")

    def case_done(self, case_id: str, record: CaseRecord | None, protocol: str) -> None:
        self.bars.advance(self.task)

    def say(self, line: str) -> None:
        """Prints a line above the bars."""
        self.out.print(line)

    def job_done(self, job: Job, result: Result) -> None:
        self.out.print(
            f"{job.name_under(result.protocol)}: {len(result.case_ids)} cases in {result.timing.wall_seconds:.0f} s"
        )
        self.out.print(f"  {self.options}", style="dim", soft_wrap=True)

    def job_failed(self, job: Job, error: Exception) -> None:
        if not isinstance(error, RequestError):  # which is told whole, in one sentence, at the end
            self.out.print(f"{job.name}: failed ({type(error).__name__})")
