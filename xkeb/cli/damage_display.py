"""What edits that stay did to the rest of a model, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xkeb.cli.output import make_table
from xkeb.results.regime import Regime

if TYPE_CHECKING:
    from rich.console import Console

    from xkeb.results.damage import DamageScore
    from xkeb.results.result import Result

UNKNOWN = "no number"
"""Of what is infinite, or no number, as in a model that broke down."""
COLUMNS = ("Edits", "In", "Asked", "Changed", "KL, nats", "Perplexity", "Before")


def show_damage(out: Console, results: Sequence[Result]) -> None:
    """A line for each number of edits and each language; of a sequence that is asked after each edit, only some numbers."""
    measured = [result for result in results if result.damage]
    if not measured:
        return
    names = ["Method"] if len(measured) > 1 else []
    title = "Damage: unrelated answers, and a text in each language"
    table = make_table(title, [*names, *COLUMNS], out, right=[name for name in COLUMNS if name != "In"])
    left_out = 0
    for result in measured:
        assert result.damage is not None
        regime = Regime.read(result.regime)
        shown = {*regime.retention, regime.edits}
        for edits, point in result.damage.after.items():
            left_out += int(edits) not in shown
            for code, score in point.languages.items() if int(edits) in shown else ():
                first = [result.method.name] if names else []
                table.add_row(*first, f"{int(edits):,}", code, *_cells(score))
    out.print(table)
    if left_out:
        out.print(f"Measured after {left_out:,} more edits, too: damage in result.json.", style="dim")


def _cells(score: DamageScore) -> list[str]:
    changed = "" if score.changed is None else f"{score.changed:.1f}%"
    kl = _number(score.kl, 4) if score.n_kl else "another model" if score.n else ""
    if score.perplexity is None:
        return [f"{score.n:,}", changed, kl, "no text", ""]
    return [
        f"{score.n:,}",
        changed,
        kl,
        _number(score.perplexity.after, 2),
        _number(score.perplexity.before, 2),
    ]


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,.{digits}f}" if value < 1e7 else f"{value:.1e}"
