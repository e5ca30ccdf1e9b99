"""What `xkeb tune` prints: a line a point while it runs, then the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from rich.console import Console
from rich.text import Text

from xkeb.cli.output import make_console, show_columns, show_prose
from xkeb.cli.progress import ProgressDisplay
from xkeb.evaluation.job import Job
from xkeb.evaluation.tuning import PointRecord, Tuning
from xkeb.evaluation.tuning.points import Measured, settings_text
from xkeb.results.result import Result

CHOSEN, FAILED = "*", "failed"


class TuningDisplay(ProgressDisplay):
    """The bars of a run, and a line for each point that is done."""

    def job_done(self, job: Job, result: Result) -> None:
        """A job is a part of a point, which has a line of its own."""

    def point_done(self, point: PointRecord, number: int, total: int) -> None:
        outcome = FAILED if point.score is None else f"{point.score:.2f}"
        self.say(f"{number} of {total}: {settings_text(point.settings)}: {outcome}")


def show_tuning(tuning: Tuning, method: str, metric: str) -> None:
    """Every point with its means, the chosen one marked, and why others failed."""
    out = make_console()
    points = tuning.points
    out.print(f"{method} on {tuning.model}, {metric}", style="bold")
    _show_points(out, points, tuning.chosen)
    chosen = None if tuning.chosen is None else points[tuning.chosen]
    for fact in tuning.facts:
        _show_facts(out, fact, chosen)
    if chosen:
        _show_left_out(out, chosen)
    for point in points:
        if point.failure:
            out.print(f"{settings_text(point.settings)}: {point.failure}")
    if chosen:
        out.print(f"* {settings_text(chosen.settings)}: written to {tuning.path}")


def _show_points(out: Console, points: Sequence[PointRecord], chosen: int | None) -> None:
    names = list(points[0].settings)
    measured = [name for name in get_args(Measured) if any(name in point.means for point in points)]
    several = len({point.facts for point in points if point.score is not None}) > 1
    rows = []
    for i, point in enumerate(points):
        cells = [CHOSEN if i == chosen else "", *(_cell(point.settings[name]) for name in names)]
        cells += [f"{point.means[name]:.2f}" if name in point.means else "-" for name in measured]
        cells.append(FAILED if point.score is None else f"{point.score:.2f}")
        worked = point.score is not None
        cells += [str(point.facts) if worked else ""] * several
        cells.append(f"{point.seconds:.1f}" if worked else "")
        rows.append([Text(cell, style="bold" if i == chosen else "") for cell in cells])
    numbers = [*map(_title, measured), "Score", *["Facts"] * several, "Seconds"]
    show_columns(out, ["", *names], rows, numbers)


def _show_facts(out: Console, fact: Mapping[str, Any], chosen: PointRecord | None) -> None:
    """Which facts were asked, and how many of them could be edited where it isn't all."""
    task = fact["task"]
    also = f", asked in {', '.join(fact['also_asked_in'])}, too" if fact["also_asked_in"] else ""
    out.print(f"{task}: {fact['count']} facts, {fact['source']} ({fact['file']}){also}")
    if chosen and chosen.edited[task] < fact["count"]:
        out.print(
            f"{task}: {chosen.edited[task]} of {fact['count']} facts could be edited; the first of the others: "
            f"{chosen.refused[task]}"
        )


def _show_left_out(out: Console, chosen: PointRecord) -> None:
    for name, (left_out, of) in chosen.left_out.items():
        told = f"{_title(name)}: {left_out} of {of} questions are left out, which the model answers with nothing."
        if name not in chosen.means:
            told += " So the score doesn't say whether such answers stay as they were."
        show_prose(out, told)


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _cell(value: Any) -> str:
    """A value of an option; a list as the command line writes it."""
    return (
        f"[{','.join(map(_cell, value))}]" if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
    )
