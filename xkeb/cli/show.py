"""What a run shows: its plan, its progress, its table. Plain text where the output is not a terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
)
from rich.table import Table
from rich.text import Text

from xkeb.editor import needs_of
from xkeb.errors import RequestError
from xkeb.plan import NEEDED, Cell
from xkeb.plugins import plugins
from xkeb.progress import Listener
from xkeb.results import Result, Scores
from xkeb.subjects import WAYS
from xkeb.types import PROPERTIES

PLAIN_WIDTH = 200


def console(*, stderr: bool = False) -> Console:
    """A console that never wraps a table when piped."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)


def table(title: str | None, columns: Sequence[str], out: Console, right: Sequence[str] = ()) -> Table:
    """An empty table; without lines where the output is not a terminal."""
    made = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), show_edge=False)
    if out.is_terminal:
        made = Table(title=title, title_justify="left")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def show_plan(cells: Sequence[Cell]) -> None:
    """The cells of a run, and what is already there."""
    out = console()
    plan = table(
        "Plan", ["Task", "Model", "Method", "Cases", "Done", "Learns from", "Options"], out, right=["Cases", "Done"]
    )
    for cell in cells:
        wanted = {case.id for case in cell.cases}
        done = len(wanted & _journaled(cell.folder / "cases.jsonl"))
        options = ", ".join(f"{name}={value}" for name, value in cell.options.items() if name != "seed")
        facts = f"{len(cell.training())} training facts{_with_needed(cell)}" if cell.learns else ""
        plan.add_row(cell.task.name, cell.model, cell.method, str(len(wanted)), str(done), facts, options)
    out.print(plan)
    for cell in {cell.task.name: cell for cell in cells}.values():
        task = cell.task
        if task.loaded.skipped:
            out.print(
                f"{task.name}: {len(task.loaded.skipped)} of {len(task) + len(task.loaded.skipped)} records can't be run."
            )
        if task.aligned:
            out.print(f"{task.name}: subjects in their questions: {_located(cell)}.")
    out.print()


def _located(cell: Cell) -> str:
    """In which way how many cases' subjects are found, of a task that looks further than for the exact words."""
    ways = Counter(cell.task.loaded.located[case.id] for case in cell.cases)
    return ", ".join(f"{ways[way]} {way}" for way in WAYS) + f", {ways[None]} nowhere"


def _with_needed(cell: Cell) -> str:
    """What the method needs of a fact that it learns from."""
    needs = needs_of(plugins().methods.get(cell.method))
    return f" with {' and '.join(NEEDED[name] for name in sorted(needs))}" if needs else ""


def _journaled(path: Path) -> set[str]:
    """The cases in a journal; a rough look, since the journal itself is read again when it is opened."""
    if not path.is_file():
        return set()
    found = set()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.add(json.loads(line)["case_id"])
        except (ValueError, KeyError, TypeError):
            continue
    return found


class _Pace(ProgressColumn):
    """Seconds a case or step, or how many a second, and the time left, over the whole phase: cases end in batches, which
    would make a moving average jump."""

    def render(self, task: Task) -> Text:
        done = task.completed - task.fields["before"]
        if not done or not task.elapsed or task.total is None:
            return Text("")
        seconds = task.elapsed / done
        left = timedelta(seconds=round(seconds * (task.total - task.completed)))
        return Text(
            f"{seconds:.1f} s each, {left} left" if seconds >= 1 else f"{1 / seconds:.1f} a second, {left} left"
        )


PHASES = {"before": "untouched model", "fit": "learning", "edit": "editing"}


class Live(Listener):
    """Progress bars on a terminal; a line a cell where there is none."""

    def __init__(self) -> None:
        self.out = console(stderr=True)
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
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
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def _begin(self, description: str, done: int, total: int | None) -> None:
        if self.task is not None:
            self.progress.remove_task(self.task)
        self.task = self.progress.add_task(description, total=total, completed=done, before=done)

    def model(self, name: str) -> None:
        self._begin(f"loading {name}", 0, None)

    def cell(self, cell: Cell) -> None:
        self.name = cell.name
        self._begin(cell.name, 0, None)

    def phase(self, name: str, done: int = 0, total: int | None = None) -> None:
        self._begin(f"{self.name}: {PHASES[name]}", done, total)

    def settled(self, cell: Cell, options: Mapping[str, Any]) -> None:
        self.options = ", ".join(f"{name}={value}" for name, value in options.items() if value is not None)

    def learning(self, what: str, done: int, total: int) -> None:
        if self.task is None or self.progress.tasks[0].total != total:
            self._begin(what, max(done - 1, 0), total)
        self.progress.update(self.task, completed=done, description=f"{self.name}: {what}")

    def smaller(self, size: int) -> None:
        self.say(f"{self.name}: memory ran out; from here on at most {size} of its cases at once")

    def case_done(self) -> None:
        self.progress.advance(self.task)

    def say(self, line: str) -> None:
        """Prints a line above the bars."""
        self.out.print(line)

    def cell_done(self, cell: Cell, result: Result) -> None:
        self.out.print(f"{cell.name}: {len(result.case_ids)} cases in {result.timing['wall_seconds']:.0f} s")
        self.out.print(f"  {self.options}", style="dim", soft_wrap=True)

    def cell_failed(self, cell: Cell, error: Exception) -> None:
        if not isinstance(error, RequestError):  # which is told whole, in one sentence, at the end
            self.out.print(f"{cell.name}: failed ({type(error).__name__})")


def show_table(results: Sequence[Result], output: Path) -> None:
    """Results in the layout of the paper's Table 2: F1 / EM, one block a model and a pair of languages."""
    out = console()
    blocks: dict[tuple[str, frozenset[str]], list[Result]] = {}
    for result in results:
        key = (result.model["name"], frozenset((result.task["source"], result.task["target"])))
        blocks.setdefault(key, []).append(result)
    for (model, languages), group in blocks.items():
        first, second = _metrics(group[0])
        codes = sorted(languages)
        columns = [
            f"{plugins().languages.get(code).name}\n{name}"
            for code in codes
            for name in PROPERTIES
            if name != "reliability"
        ]
        title = f"{model} ({group[0].protocol.replace('_', ' ')}, {first}{' / ' + second if second else ''})"
        rows = table(
            title,
            ["Editing", "Method", "Cases", "Reliability", *columns],
            out,
            right=["Cases", "Reliability", *columns],
        )
        seen: set[str] = set()
        for result in group:
            if result.task["source"] not in seen:
                seen.add(result.task["source"])
                rows.add_row(*_row(result, result.scores_before, "(untouched)", codes, (first, second)), style="dim")
            rows.add_row(*_row(result, result.scores, result.method["name"], codes, (first, second)))
        out.print(rows)
        out.print()
    skipped = sum(len(result.skipped) for result in results)
    if skipped:
        out.print(f"{skipped} cases skipped; the reasons stand in result.json.")
    if results:
        out.print(f"Results: {output}")


def _metrics(result: Result) -> tuple[str, str]:
    """The two metrics that a table shows: f1 and em where they were measured."""
    measured = list(next(iter(next(iter(result.scores.values())).values()))) if result.scores else []
    chosen = [name for name in ("f1", "em") if name in measured] or measured
    return (chosen[0] if chosen else "", chosen[1] if len(chosen) > 1 else "")


def _row(result: Result, scores: Scores, method: str, codes: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """The cells of a row; locality of the untouched model is 100 by definition."""
    source = result.task["source"]
    asked = [("reliability", source), *((name, code) for code in codes for name in PROPERTIES if name != "reliability")]
    cells = []
    for name, language in asked:
        measured = scores.get(name, {}).get(language, {})
        cells.append(" / ".join(f"{measured[metric].mean:.2f}" for metric in metrics if metric in measured) or "-")
    return [plugins().languages.get(source).name, method, str(len(result.case_ids)), *cells]
