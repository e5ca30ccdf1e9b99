"""xkeb compare: two results, paired over the same cases."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xkeb.cli.options import json_option

if TYPE_CHECKING:
    from rich.console import Console

    from xkeb.results.compare import Changed, Comparison, Side


@click.command("compare")
@click.argument("a", type=click.Path(path_type=Path), metavar="A")
@click.argument("b", type=click.Path(path_type=Path), metavar="B")
@click.option(
    "--cases", type=int, default=5, show_default=True, metavar="N", help="Show the N cases that changed most."
)
@json_option
def command(a: Path, b: Path, cases: int, as_json: bool) -> None:
    """Compare the results A and B: files, or folders that hold one result each.

    They are paired over the questions that both were asked: the difference B - A, its interval, and how likely one as large
    is by chance.

    \b
    xkeb compare results/TASK/MODEL/METHOD results/TASK/MODEL/OTHER
    """
    from xkeb.results.compare import compare_results

    comparison = compare_results(a, b, cases=cases)
    if as_json:
        click.echo(json.dumps(_as_data(comparison), ensure_ascii=False, indent=2, allow_nan=False))
        return
    for warning in comparison.warnings:
        click.echo(f"xkeb: warning: {warning}", err=True)
    _show(comparison)


def _as_data(comparison: Comparison) -> dict[str, Any]:
    from xkeb.results.compare import INTERVAL, TEST

    return {
        "a": _side(comparison.a),
        "b": _side(comparison.b),
        "warnings": list(comparison.warnings),
        "shared_cases": comparison.shared,
        "only_a": comparison.only_a,
        "only_b": comparison.only_b,
        "metrics": list(comparison.metrics),
        "interval": INTERVAL,
        "test": TEST,
        "rows": [asdict(row) for row in comparison.rows],
        "cases": [{**asdict(case), "edit": case.edit.model_dump()} for case in comparison.cases],
    }


def _side(side: Side) -> dict[str, Any]:
    from xkeb.results.untrusted import printable

    result = side.result
    parts = {name: getattr(result, name).model_dump() for name in ("task", "model", "method")}
    return {"path": printable(str(side.path)), **parts, "protocol": result.protocol, "cases": len(side.cases)}


def _show(comparison: Comparison) -> None:
    from xkeb.cli.output import make_console, make_table
    from xkeb.results.compare import INTERVAL, TEST
    from xkeb.results.untrusted import printable

    out = make_console()
    for name, side in (("A", comparison.a), ("B", comparison.b)):
        text = f"{name}: {side.path} ({side.result.title}, {len(side.cases):,} cases)"
        out.print(printable(text), markup=False, soft_wrap=True)
    only = f"{comparison.only_a:,} only in A, {comparison.only_b:,} only in B"
    out.print(f"{comparison.shared:,} cases in both, {only}.\n", markup=False)
    left, right = ("Property", "Language", "Metric"), ("Pairs", "A", "B", "B - A", "95% interval", "p")
    numbers = (*right, "Better", "Same", "Worse")
    rows = make_table(None, (*left, *numbers), out, right=numbers)
    for row in comparison.rows:
        low, high = row.ci95
        rows.add_row(
            row.property, printable(row.language), printable(row.metric), f"{row.pairs:,}", f"{row.a:.2f}", f"{row.b:.2f}",
            f"{row.difference:+.2f}", f"{low:+.2f} to {high:+.2f}", f"{row.p:.4f}{'' if row.exact else '*'}",
            f"{row.wins:,}", f"{row.ties:,}", f"{row.losses:,}",
        )  # fmt: skip
    out.print(rows)
    out.print(f"Interval: {INTERVAL}.", style="dim", soft_wrap=True, markup=False)
    out.print(f"p: {TEST} (*); not corrected for the number of rows.", style="dim", soft_wrap=True, markup=False)
    for case in comparison.cases:
        _show_case(out, case, comparison.metrics[0])


def _show_case(out: Console, case: Changed, metric: str) -> None:
    from rich.markup import escape

    from xkeb.cli.output import make_table
    from xkeb.results.untrusted import printable

    edit = f"{case.edit.prompt} -> {case.edit.target}"
    out.print()
    out.print(printable(f"Case {case.case_id}: {edit}"), style="bold", markup=False, soft_wrap=True)
    score = f"{printable(metric)} of"
    right = (f"{score} A", f"{score} B")
    columns = ("Property", "Language", "Question", "Expected", "A", "B", *right)
    rows = make_table(None, columns, out, right=right)
    for answer in case.answers:
        expected = answer.reference
        if answer.property == "locality":  # judged by what was answered before the edit
            expected = " / ".join(dict.fromkeys(answer.before))
        texts = (answer.property, answer.language, answer.prompt, expected, *answer.after)
        rows.add_row(
            *(escape(printable(text)) or "(blank)" for text in texts), *(f"{value:.2f}" for value in answer.scores)
        )
    out.print(rows)
