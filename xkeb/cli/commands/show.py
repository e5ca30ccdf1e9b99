"""xkeb show: a result in the terminal, and its cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
from rich.text import Text

from xkeb.cli.echo import plain, say_json
from xkeb.cli.options import json_option, split_names
from xkeb.errors import RequestError, unknown
from xkeb.results.outcomes import (
    MEANINGS,
    OUTCOMES,
    WRONG_LANGUAGE,
    Outcome,
    case_outcomes,
    exact_metric,
    outcomes_of,
    possible_outcomes,
    told_outcomes,
)
from xkeb.utils.case_names import named_cases

if TYPE_CHECKING:
    from rich.console import Console

    from xkeb.results.lines import CaseRecord, ProbeRecord
    from xkeb.results.result import Result


@click.command("show")
@click.argument("result", type=click.Path(path_type=Path), metavar="RESULT")
@click.option("--cases", metavar="ID[,ID]", help="Show these cases; 100-299 is a range.")
@click.option(
    "--only",
    metavar="|".join(OUTCOMES),
    help="Show cases with such a question; of several, separated by commas, with each of them.",
)
@click.option("--slice", "within", metavar="KIND=VALUE", help="Show cases of a slice, such as answers=differ.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help="Show the first N of them; of those that a filter lets through, 5 by default.",
)
@json_option
def command(
    result: Path, cases: str | None, only: str | None, within: str | None, limit: int | None, as_json: bool
) -> None:
    """Show a result, a file or the folder that holds it: its scores, what the edits did, and cases.

    A question is `fixed` where it was answered wrongly before the edit and rightly after it; `crossed` where that is so in
    another language than the edit's; `broken` where it was right before, or unrelated and answered otherwise now;
    `wrong-language` where the answer is in another language of the case, if the metric wrong_language was measured.

    \b
    xkeb show results/TASK/MODEL/METHOD --only crossed
    """
    from xkeb.cli.damage_display import show_damage
    from xkeb.cli.output import make_console
    from xkeb.cli.retention_display import show_retention
    from xkeb.cli.score_table import show_blank, show_block, show_skipped
    from xkeb.results.reader import open_result

    path, content, records = open_result(result)
    exact = exact_metric(content)
    counts = {one: sum(one in case_outcomes(case, exact) for case in records.values()) for one in OUTCOMES}
    chosen = _choose(content, records, cases, _outcomes(content, path, only), within)
    if cases is None and only is None and within is None and limit is None:
        limit = 0
    shown = chosen[: len(chosen) if limit is None and cases is not None else 5 if limit is None else limit]
    if as_json:
        say_json(
            {
                "path": str(path),
                "result": content.model_dump(mode="json"),
                "right": exact,
                "counts": {one: counts[one] for one in told_outcomes(content)},
                "matching": len(chosen),
                "cases": [
                    {
                        **case.model_dump(mode="json"),
                        "outcomes": [outcomes_of(case, probe, exact) for probe in case.probes],
                    }
                    for case in shown
                ],
            }
        )
        return
    out = make_console()
    if content.case_ids:
        show_block([content], out)
        show_blank([content], out)
    show_retention(out, content)
    show_damage(out, [content])
    _show_counts(out, content, counts, len(records))
    show_skipped(out, [content])
    for case in shown:
        _show_case(out, case, exact)
    if len(chosen) > len(shown) and limit != 0:
        out.print(f"\n{len(chosen) - len(shown):,} more; --limit shows them.", style="dim")


def _outcomes(result: Result, path: Path, text: str | None) -> list[Outcome]:
    """The outcomes that ``--only`` names.

    Raises:
        RequestError: there is no such outcome, or the result doesn't tell.
    """
    names = [] if text is None else split_names(text)
    if text is not None and not names:
        raise RequestError(f"--only names nothing: {', '.join(OUTCOMES)}.")
    chosen = []
    for name in names:
        known = {one: one for one in get_args(Outcome)}
        if name not in known:
            raise unknown("filter", name, known)
        if known[name] not in possible_outcomes(result):
            raise RequestError(f"{path} is of one language, {result.task.source}, so that no question of it is {name}.")
        if known[name] not in told_outcomes(result):
            raise RequestError(
                f"{path} doesn't tell in which language an answer is: "
                f"xkeb rescore {path.parent} --metrics {','.join([*result.metrics, WRONG_LANGUAGE])} --output DIR does."
            )
        chosen.append(known[name])
    return chosen


def _choose(
    result: Result,
    records: Mapping[str, CaseRecord],
    cases: str | None,
    only: Sequence[Outcome],
    within: str | None,
) -> list[CaseRecord]:
    """The cases that every filter lets through, in the order of the file."""
    named = named_cases(split_names(cases), records) if cases is not None else None
    for case_id in named or ():
        if case_id not in records:
            raise unknown(f"case of {result.title}:", case_id, records)
    there = {f"{kind}={value}" for case in records.values() for kind, value in case.slices.items()}
    if within is not None and within not in there:
        raise unknown(f"slice of {result.title}:", within, there)
    kind, _, value = (within or "").partition("=")
    return [
        case
        for case_id, case in records.items()
        if (named is None or case_id in named)
        and (within is None or case.slices.get(kind) == value)
        and set(only) <= case_outcomes(case, exact_metric(result))
    ]


def _show_counts(out: Console, result: Result, counts: Mapping[Outcome, int], total: int) -> None:
    from xkeb.cli.output import show_prose

    out.print(f"Of {total:,} cases, those with a question that is", style="bold")
    for outcome in possible_outcomes(result):
        share = f"{counts[outcome]:,}" if outcome in told_outcomes(result) else "?"
        show_prose(out, f"  {share:>6}  {outcome}: {MEANINGS[outcome]}")


def _show_case(out: Console, case: CaseRecord, exact: str) -> None:
    """A case, a question a block: its texts one below the other, since they may be long, and in any script."""
    slices = ", ".join(f"{kind}={value}" for kind, value in sorted(case.slices.items()))
    out.print()
    out.print(f"Case {case.case_id}: {case.edit.prompt} -> {case.edit.target}", style="bold", soft_wrap=True)
    if slices:
        out.print(f"  {slices}", style="dim", soft_wrap=True)
    for probe in case.probes:
        _show_question(out, case, probe, exact)


def _show_question(out: Console, case: CaseRecord, probe: ProbeRecord, exact: str) -> None:
    marks = outcomes_of(case, probe, exact)
    head = Text.assemble((f"  {plain(probe.property)} {plain(probe.language)}", "underline"))
    colours = {"fixed": "green", "crossed": "green", "broken": "red", "wrong-language": "yellow"}
    for mark in marks:
        head.append(f"  {mark}", colours[mark])
    if probe.blank:
        head.append("  left out: no answer before the edit", "yellow")
    scores = ", ".join(f"{name} {value:.2f}" for name, value in probe.scores.items())
    head.append(f"  {plain(scores)}", "dim")
    out.print(head, soft_wrap=True)
    expected = probe.before if probe.property == "locality" else probe.reference
    texts = [("question", probe.prompt), ("expected", expected)]
    texts += [] if probe.property == "locality" else [("before", probe.before)]
    texts.append(("after", probe.after))
    for name, text in texts:
        out.print(f"    {name:<9} {text.strip() or '(blank)'}", soft_wrap=True)
