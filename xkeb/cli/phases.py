"""Where the time of a run went."""

from __future__ import annotations

from collections.abc import Sequence

from xkeb.cli.output import make_console
from xkeb.results.result import Result


def show_phases(results: Sequence[Result]) -> None:
    """Two lines a job: the seconds of this run, and those of each phase with its share."""
    out = make_console(stderr=True)
    if results:
        out.print("Seconds by phase", style="bold")
    for result in results:
        phases = {name: seconds for name, seconds in result.timing.phases.model_dump().items() if seconds}
        whole = sum(phases.values())
        shown = [f"{name} {seconds:.1f} ({100 * seconds / whole:.0f}%)" for name, seconds in phases.items()]
        out.print(f"{result.title}: {whole:.1f}", soft_wrap=True)
        out.print(f"  {', '.join(shown)}")
    out.print()
