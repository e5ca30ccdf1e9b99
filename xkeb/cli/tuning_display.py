"""What `xkeb tune` prints: a line a point while it runs, then the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from xkeb.cli.output import make_console, make_table
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
    names = list(points[0].settings)
    measured = [name for name in get_args(Measured) if any(name in point.means for point in points)]
    counts = {point.facts for point in points if point.score is not None}
    heads = ["", *names, *(name.replace("_", " ").capitalize() for name in measured), "Score", "Seconds"]
    if len(counts) > 1:
        heads.insert(-1, "Facts")
    table = make_table(f"{method} on {tuning.model}, {metric}", heads, out, right=heads[1:])
    for i, point in enumerate(points):
        cells = [_cell(point.settings[name]) for name in names]
        if point.score is None:
            cells += ["-"] * len(measured) + [FAILED] + [""] * (len(heads) - 1 - len(cells) - len(measured) - 1)
        else:
            cells += [f"{point.means[name]:.2f}" if name in point.means else "-" for name in measured]
            cells.append(f"{point.score:.2f}")
            cells += [str(point.facts)] if len(counts) > 1 else []
            cells.append(f"{point.seconds:.1f}")
        table.add_row(CHOSEN if i == tuning.chosen else "", *cells, style="bold" if i == tuning.chosen else None)
    out.print(table)
    shown = [] if tuning.chosen is None else [points[tuning.chosen]]
    for fact in tuning.facts:
        also = f", asked in {', '.join(fact['also_asked_in'])}, too" if fact["also_asked_in"] else ""
        out.print(f"{fact['task']}: {fact['count']} facts, {fact['source']} ({fact['file']}){also}")
        for point in shown:
            if point.edited[fact["task"]] < fact["count"]:
                out.print(
                    f"{fact['task']}: {point.edited[fact['task']]} of {fact['count']} facts could be edited; the first of "
                    f"the others: {point.refused[fact['task']]}"
                )
    for point in points:
        if point.failure:
            out.print(f"{settings_text(point.settings)}: {point.failure}")
    if tuning.chosen is not None:
        out.print(f"* {settings_text(points[tuning.chosen].settings)}: written to {tuning.path}")


def _cell(value: Any) -> str:
    """A value of an option; a list as the command line writes it."""
    return (
        f"[{','.join(map(_cell, value))}]" if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
    )
