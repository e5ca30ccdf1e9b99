"""What a run of tasks with several targets prints: a row a language that is asked in; of several sources, a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from xkeb.cli.output import make_table
from xkeb.registry.manager import get_plugins
from xkeb.results.crossing import ALL, asymmetries, group_means
from xkeb.results.result import Result
from xkeb.results.scores import CrossingRecord, Score
from xkeb.results.slices import HEADLINE
from xkeb.types import PROPERTIES, Language

PARTS: Mapping[str, str] = {HEADLINE: "cases whose answers differ", ALL: "all cases"}
"""What the measures are over, in words."""
MOST_ASYMMETRIES = 3
"""Pairs of languages that are named."""


def show_crossing(results: Sequence[Result], out: Console) -> None:
    """A table for each result; for a model and a method with several sources of one data set, a matrix instead."""
    groups: dict[tuple[str, str, str, str, str, frozenset[str]], list[Result]] = {}
    for result in results:
        asked, task = (result.protocol, result.prompt), result.task
        languages = frozenset(task.direction.languages)
        key = (result.model.name, result.method.name, *asked, task.dataset.name, languages)
        groups.setdefault(key, []).append(result)
    for group in groups.values():
        for part in PARTS:
            if len(group) == 1:
                _show_languages(group[0], part, out)
            else:
                _show_matrix(group, part, out)


def _show_languages(result: Result, part: str, out: Console) -> None:
    """Scores by the language that is asked in, and what crosses to it; below, the means over families and scripts."""
    targets = (result.crossing or {}).get(part)
    if not targets:
        return
    scores = result.scores if part == ALL else result.slices.get(part, {})
    metrics = _metrics(targets)
    source = result.task.source
    took = _cell(result.scores.get("reliability", {}).get(source, {}), metrics)
    out.print(
        f"{_title(result)}, edited in {_language(source).name} ({' / '.join(metrics)}), {PARTS[part]}", style="italic"
    )
    out.print(
        f"Reliability of all: {took}. Transfer: what {metrics[0]} of generality gains, in percent of what it gains in the "
        f"language of the edits. Both: {metrics[-1]} in both at once.",
        style="dim",
    )
    columns = ("In", "n", *(name.capitalize() for name in PROPERTIES[1:]), "Transfer", "Both")
    rows = make_table(None, columns, out, right=columns[1:])
    for code in result.task.direction.languages:
        cells = [_cell(scores.get(name, {}).get(code, {}), metrics) for name in PROPERTIES[1:]]
        n = max((score.n for score in scores.get("generality", {}).get(code, {}).values()), default=0)
        crossed = targets.get(code, {})
        both = crossed.get(metrics[-1])
        rows.add_row(
            _language(code).name, str(n), *cells, _transfer(crossed.get(metrics[0])),
            f"{both.both.mean:.1f}" if both else "",
        )  # fmt: skip
    transfers = {code: value for code in targets if (value := targets[code][metrics[0]].transfer) is not None}
    for name, mean in _means_by_group(transfers).items():
        rows.add_row(f"({name})", "", "", "", "", f"{mean:.1f}", "", style="dim")
    out.print(rows)
    out.print()


def _show_matrix(group: Sequence[Result], part: str, out: Console) -> None:
    """Transfer from each source to each target, and where it is least symmetric."""
    measured = {result.task.source: targets for result in group if (targets := (result.crossing or {}).get(part))}
    if not measured:
        return
    metric = _metrics(next(iter(measured.values())))[0]
    matrix = {
        (source, code): record[metric].transfer
        for source, targets in measured.items()
        for code, record in targets.items()
        if metric in record
    }
    codes = sorted({code for way in matrix for code in way})
    out.print(f"{_title(group[0])}: transfer of {metric} in percent, {PARTS[part]}", style="italic")
    rows = make_table(None, ("Edited in", *codes), out, right=codes)
    for source in sorted(measured):
        cells = ["" if (value := matrix.get((source, code))) is None else f"{value:.0f}" for code in codes]
        rows.add_row(_language(source).name, *cells)
    out.print(rows)
    known = {way: value for way, value in matrix.items() if value is not None}
    gaps = sorted(asymmetries(known).items(), key=lambda item: -item[1])[:MOST_ASYMMETRIES]
    for (source, target), gap in gaps:
        out.print(f"{source} to {target} crosses {gap:.0f} points better than {target} to {source}.")
    same = group_means(known, lambda way: _likeness(*way))
    out.print("Means: " + "; ".join(f"{name} {mean:.1f}" for name, mean in sorted(same.items())) + ".")
    out.print()


def _means_by_group(transfers: Mapping[str, float]) -> dict[str, float]:
    """By the family of the target, and by its script."""
    families = group_means(transfers, lambda code: _language(code).family)
    scripts = group_means(transfers, lambda code: _language(code).script)
    return {**families, **{f"{name} script": mean for name, mean in scripts.items()}}


def _likeness(source: str, target: str) -> str:
    """What two languages have in common."""
    one, other = _language(source), _language(target)
    family = "same family" if one.family and one.family == other.family else "other family"
    return f"{family}, {'same' if one.script == other.script else 'other'} script"


def _title(result: Result) -> str:
    asked = result.protocol.replace("_", " ") + (f", {result.prompt}" if result.prompt != "plain" else "")
    return f"{result.model.name} / {result.method.name}, {asked}"


def _metrics(targets: Mapping[str, Mapping[str, CrossingRecord]]) -> tuple[str, ...]:
    return tuple(next(iter(targets.values())))


def _language(code: str) -> Language:
    language: Language = get_plugins().languages.get(code)
    return language


def _transfer(record: CrossingRecord | None) -> str:
    return "" if record is None else "-" if record.transfer is None else f"{record.transfer:.1f}"


def _cell(measured: Mapping[str, Score], metrics: Sequence[str]) -> str:
    return " / ".join(f"{measured[metric].mean:.1f}" for metric in metrics if metric in measured) or "-"
