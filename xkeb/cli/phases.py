"""Where the time of a run went: what ``xkeb run --verbose`` shows at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from xkeb.cli.show import console, table
from xkeb.progress import Phase
from xkeb.results import Result


def show_phases(results: Sequence[Result]) -> None:
    """A row a cell: the seconds of each phase of this run, each with its share."""
    if not results:
        return
    out = console()
    names = list(get_args(Phase))
    columns = ["Task", "Model", "Method", *names, "all"]
    rows = table("Seconds by phase", columns, out, right=columns[3:])
    for result in results:
        phases = result.timing["phases"]
        whole = sum(phases.values())
        shown = [f"{phases[name]:.1f} ({100 * phases[name] / whole:.0f}%)" for name in names]
        rows.add_row(result.task["name"], result.model["name"], result.method["name"], *shown, f"{whole:.1f}")
    out.print(rows)
    out.print()
