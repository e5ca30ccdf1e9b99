"""xkeb compare: two results, paired over the same cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xkeb.cli.case_display import show_case, side_data
from xkeb.cli.echo import complain, say_json
from xkeb.cli.options import json_option, split_names
from xkeb.errors import RequestError

if TYPE_CHECKING:
    from rich.console import Console

    from xkeb.results.compare import Comparison
    from xkeb.results.differences import Row
    from xkeb.results.group import Across

POINTS = 2.0
"""The difference that ``--power`` is about, if nobody says otherwise."""


@click.command("compare")
@click.argument("a", type=click.Path(path_type=Path), metavar="A")
@click.argument("b", type=click.Path(path_type=Path), metavar="B")
@click.option(
    "--cases", type=int, default=5, show_default=True, metavar="N", help="Show the N cases that changed most."
)
@click.option("--power", is_flag=True, help="Say for each row how many records would show a difference.")
@click.option("--points", type=float, metavar="X", help=f"The difference that --power is about.  [default: {POINTS:g}]")
@click.option("--slice", "within", metavar="KIND=VALUE", help="Only the cases of a slice, such as answers=differ.")
@click.option(
    "--across",
    type=click.Choice(["protocol", "prompt", "regime", "task"]),
    help="Show the gap between two ways of asking, as of one method under two protocols, with each slice.",
)
@click.option("--metrics", metavar="M[,M]", help="Only these; cases are ordered by the first.  [default: all of both]")
@json_option
def command(
    a: Path,
    b: Path,
    cases: int,
    power: bool,
    points: float | None,
    within: str | None,
    across: Across | None,
    metrics: str | None,
    as_json: bool,
) -> None:
    """Compare the results A and B: files, or folders that hold one result each.

    They are paired over the questions that both were asked: the difference B - A, its interval, and how likely one as large
    is by chance. Records of one subject are resampled and flipped together. Both must be of one comparable group: task, data,
    protocol, prompt and regime.

    \b
    xkeb compare results/TASK/MODEL/METHOD results/TASK/MODEL/OTHER
    xkeb compare --across protocol results/TASK/MODEL/METHOD results/TASK/MODEL/METHOD-generate
    """
    from xkeb.results.compare import compare_results

    if points is not None and not power:
        raise RequestError("--points needs --power.")
    chosen = None if metrics is None else split_names(metrics)
    if chosen == []:
        raise RequestError("--metrics names nothing.")
    if across is not None:
        if power:
            raise RequestError("--power is of a difference between two methods, and --across shows none.")
        from xkeb.cli.gap_display import gap_data, show_gap
        from xkeb.results.gap import find_gap

        gap = find_gap(a, b, across, cases=cases, within=within, chosen=chosen)
        if as_json:
            say_json(gap_data(gap, within))
        else:
            show_gap(gap)
        return
    wanted = (POINTS if points is None else points) if power else None
    comparison = compare_results(a, b, cases=cases, points=wanted, within=within, chosen=chosen)
    if as_json:
        say_json(_as_data(comparison, within))
        return
    for warning in comparison.warnings:
        complain(f"warning: {warning}")
    _show(comparison)


def _as_data(comparison: Comparison, within: str | None) -> dict[str, Any]:
    from xkeb.results.differences import ADJUSTMENT, INTERVAL, MCNEMAR, TEST

    return {
        "a": side_data(comparison.a),
        "b": side_data(comparison.b),
        "warnings": list(comparison.warnings),
        "slice": within,
        "shared_cases": comparison.shared,
        "only_a": comparison.only_a,
        "only_b": comparison.only_b,
        "blank": comparison.blank,
        "metrics": list(comparison.metrics),
        "interval": INTERVAL,
        "test": TEST,
        "adjustment": ADJUSTMENT,
        "mcnemar": MCNEMAR,
        "rows": [asdict(row) for row in comparison.rows],
        "cases": [{**asdict(case), "edit": case.edit.model_dump()} for case in comparison.cases],
    }


def _show(comparison: Comparison) -> None:
    from xkeb.cli.output import make_console, show_prose
    from xkeb.results.differences import ADJUSTMENT, INTERVAL, MCNEMAR, TEST

    out = make_console()
    for name, side in (("A", comparison.a), ("B", comparison.b)):
        text = f"{name}: {side.path} ({side.result.title}, {len(side.cases):,} cases)"
        out.print(text, soft_wrap=True)
    only = f"{comparison.only_a:,} only in A, {comparison.only_b:,} only in B"
    subjects = max(row.clusters for row in comparison.rows)
    out.print(f"{comparison.shared:,} cases in both, {only}. Those in both have {subjects:,} subjects.\n")
    _show_rows(out, comparison.rows)
    notes = [f"Interval: {INTERVAL}.", f"p: {TEST} (*). Holm: {ADJUSTMENT}."]
    notes += [f"McNemar: {MCNEMAR}."] if any(row.mcnemar is not None for row in comparison.rows) else []
    notes += ["+/=/-: pairs in which B scores higher, the same, and lower."]
    if comparison.blank:
        notes.append(f"{comparison.blank:,} questions of locality are left out: they are compared with a blank answer.")
    for note in notes:
        show_prose(out, note, "dim")
    _show_power(out, comparison.rows)
    for case in comparison.cases:
        show_case(out, case, comparison.metrics[0])


def _show_rows(out: Console, shown: Sequence[Row]) -> None:
    from xkeb.cli.output import show_columns

    numbers = ("Pairs", "A", "B", "B - A", "95% interval", "p", "Holm", "McNemar", "+/=/-")
    rows = []
    for row in shown:
        low, high = row.ci95
        rows.append((
            row.property, row.language, row.metric, f"{row.pairs:,}",
            f"{row.a:.2f}", f"{row.b:.2f}", f"{row.difference:+.2f}", f"{low:+.2f} to {high:+.2f}",
            f"{_chance(row.p)}{'' if row.exact else '*'}", _chance(row.p_holm),
            "" if row.mcnemar is None else _chance(row.mcnemar), f"{row.wins}/{row.ties}/{row.losses}",
        ))  # fmt: skip
    show_columns(out, ("Property", "In", "Metric"), rows, numbers)


def _chance(p: float) -> str:
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _show_power(out: Console, shown: Sequence[Row]) -> None:
    """Nothing where it was not asked for."""
    from xkeb.cli.output import make_table, show_prose
    from xkeb.results.paired import POWER, SIGNIFICANCE

    powers = [(row, row.power) for row in shown if row.power is not None]
    if not powers:
        return
    points = powers[0][1].points
    numbers = ("Pairs", "Deviation", "Design effect", f"Records for {points:g}")
    table = make_table(None, ("Property", "In", "Metric", *numbers), out, right=numbers)
    for row, power in powers:
        effect = "unknown" if power.design_effect is None else f"{power.design_effect:.2f}"
        records = "unknown" if power.records is None else f"{power.records:,}"
        table.add_row(
            row.property, row.language, row.metric, f"{row.pairs:,}", f"{power.deviation:.2f}", effect,
            records,
        )  # fmt: skip
    out.print()
    out.print(table)
    show_prose(
        out,
        f"Records that show a difference of {points:g} points with a chance of {POWER:.0%} in one two-sided test at "
        f"{SIGNIFICANCE:.0%}, if they share subjects as these do. Deviation: of a record's difference, the design effect of "
        "the subjects included; unknown where no subject differs from another.",
        "dim",
    )
