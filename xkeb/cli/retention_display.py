"""What the earlier edits of sequences answered, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xkeb.cli.output import make_table
from xkeb.results.settings import headline_metrics

if TYPE_CHECKING:
    from rich.console import Console

    from xkeb.results.result import Result


def show_retention(out: Console, result: Result) -> None:
    """A line for each number of edits after which the earlier ones were asked again; nothing where none were."""
    if not result.retention:
        return
    metric = headline_metrics(result.protocol, result.metrics)[-1]
    places = list(
        dict.fromkeys(
            (name, code) for scores in result.retention.values() for name, codes in scores.items() for code in codes
        )
    )
    columns = ["Edits", "Asked", *(f"{name}, {code}" for name, code in places)]
    table = make_table(f"All edits so far, asked again: {metric}", columns, out, right=columns)
    for edits, scores in result.retention.items():
        found = [scores.get(name, {}).get(code, {}).get(metric) for name, code in places]
        count = max((score.n for score in found if score), default=0)
        table.add_row(
            f"{int(edits):,}", f"{count:,}", *("" if score is None else f"{score.mean:.1f}" for score in found)
        )
    out.print(table)
