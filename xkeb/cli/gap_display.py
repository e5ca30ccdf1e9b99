"""What `xkeb compare --across` shows: the gap between two ways of asking, for all cases and for each slice."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from xkeb.cli.case_display import show_case, side_data
from xkeb.cli.output import make_console, make_table, show_prose
from xkeb.results.differences import INTERVAL
from xkeb.results.group import in_words
from xkeb.results.slices import HEADLINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from xkeb.results.gap import Gap, GapPart

NEITHER = "The two are asked in different ways, so neither is better; the gap is the effect of the way of asking."


def gap_data(gap: Gap, within: str | None) -> dict[str, Any]:
    """As JSON."""
    return {
        "a": side_data(gap.a),
        "b": side_data(gap.b),
        "across": gap.across,
        "differences": {name: list(both) for name, both in gap.differences.items()},
        "slice": within,
        "shared_cases": gap.shared,
        "only_a": gap.only_a,
        "only_b": gap.only_b,
        "metrics": list(gap.metrics),
        "interval": INTERVAL,
        "parts": [
            {"slice": part.within, "cases": part.cases, "rows": [asdict(row) for row in part.rows]}
            for part in _told(gap)
        ],
        "cases": [{**asdict(case), "edit": case.edit.model_dump()} for case in gap.cases],
    }


def show_gap(gap: Gap) -> None:
    """Both columns on the shared cases, the slice that is told first before all cases."""
    out = make_console()
    out.print(f"Gap across {gap.across}: {gap.a.result.title}", style="bold", soft_wrap=True)
    for name, side in (("A", gap.a), ("B", gap.b)):
        out.print(f"{name}: {side.path} ({len(side.cases):,} cases)", soft_wrap=True)
    show_prose(out, f"They differ in {in_words(gap.differences)}.")
    out.print(f"{gap.shared:,} cases in both, {gap.only_a:,} only in A, {gap.only_b:,} only in B.\n")
    for part in _told(gap):
        _show_part(out, part)
    show_prose(out, NEITHER, "dim")
    show_prose(out, f"Interval: {INTERVAL}.", "dim")
    for case in gap.cases:
        show_case(out, case, gap.metrics[0])


def _told(gap: Gap) -> Sequence[GapPart]:
    return sorted(gap.parts, key=lambda part: part.within != HEADLINE)


def _show_part(out: Console, part: GapPart) -> None:
    numbers = ("Pairs", "A", "B", "B - A", "95% interval")
    title = f"{part.within or 'All cases'} ({part.cases:,})"
    table = make_table(title, ("Property", "In", "Metric", *numbers), out, right=numbers)
    for row in part.rows:
        low, high = row.ci95
        table.add_row(
            row.property, row.language, row.metric, f"{row.pairs:,}", f"{row.a:.2f}", f"{row.b:.2f}", f"{row.gap:+.2f}",
            f"{low:+.2f} to {high:+.2f}",
        )  # fmt: skip
    out.print(table)
    out.print()
