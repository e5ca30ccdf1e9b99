"""A result that is compared, and a case that two results disagree about, as `xkeb compare` shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from xkeb.results.compare import Changed
    from xkeb.results.sides import Side


def side_data(side: Side) -> dict[str, Any]:
    """What JSON says of it."""
    from xkeb.results.untrusted import printable

    result = side.result
    parts = {name: getattr(result, name).model_dump() for name in ("task", "model", "method")}
    return {
        "path": printable(str(side.path)),
        **parts,
        "protocol": result.protocol,
        "prompt": result.prompt,
        "scorer": result.scorer,
        "comparable_group": printable(result.comparable_group),
        "cases": len(side.cases),
    }


def show_case(out: Console, case: Changed, metric: str) -> None:
    """Its edit, and a row for each answer that differs."""
    from xkeb.cli.output import make_table

    edit = f"{case.edit.prompt} -> {case.edit.target}"
    out.print()
    out.print(f"Case {case.case_id}: {edit}", style="bold", soft_wrap=True)
    score = f"{metric} of"
    right = (f"{score} A", f"{score} B")
    columns = ("Property", "Language", "Question", "Expected", "A", "B", *right)
    rows = make_table(None, columns, out, right=right)
    for column in rows.columns[:2]:
        column.no_wrap = True  # the texts beside them take the lines
    for answer in case.answers:
        expected = answer.reference
        if answer.property == "locality":  # judged by what was answered before the edit
            expected = " / ".join(dict.fromkeys(answer.before))
        texts = (answer.property, answer.language, answer.prompt, expected, *answer.after)
        rows.add_row(*(text or "(blank)" for text in texts), *(f"{value:.2f}" for value in answer.scores))
    out.print(rows)
