"""Pictures for a paper: of results on disk, as the site draws them, and only of what can be set against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xkeb.errors import RequestError, unknown
from xkeb.leaderboard.pictures import charts
from xkeb.leaderboard.pictures.chart import Chart, present
from xkeb.leaderboard.pictures.families import families
from xkeb.leaderboard.pictures.heatmap import heatmaps
from xkeb.leaderboard.pictures.png import as_png
from xkeb.leaderboard.pictures.sequences import retention
from xkeb.leaderboard.pictures.sheet import sheet
from xkeb.leaderboard.pictures.ways import TwoWays, two_ways
from xkeb.leaderboard.rows.case_sets import with_case_sets
from xkeb.leaderboard.rows.entries import Entry, baselines, read_results
from xkeb.results.gap import Gap, find_gap
from xkeb.results.group import Across, group_differences, in_words
from xkeb.results.reader import find_result_files
from xkeb.results.regime import Regime
from xkeb.results.result import RESULT
from xkeb.results.settings import HEADLINES

Kind = Literal["matrix", "families", "balance", "retention", "gap"]
FORMATS = ("svg", "png")
CROSSES = "results of a task with several targets, such as mzsre_en2all"
NEEDED: Mapping[Kind, str] = {
    "matrix": CROSSES,
    "families": CROSSES,
    "balance": "at least two results with reliability and locality",
    "retention": "results of a sequence (--regime sequential:N)",
}
"""What a picture is of."""


@dataclass(frozen=True)
class Picture:
    """A picture that was written."""

    chart: Chart
    files: Sequence[Path]


def plot(
    kind: Kind,
    results: Sequence[Path],
    output: Path,
    *,
    formats: Sequence[str] = ("svg",),
    across: Across = "protocol",
    metric: str | None = None,
    scale: float = 3.0,
) -> list[Picture]:
    """Draws results, and writes each picture in every format, with its numbers as CSV beside it.

    Args:
        results: files, or folders with results anywhere below them.
        across: what the two results of each method differ in, for ``gap``.
        metric: of ``gap``. None: the exact one of the first way, where both have it.
        scale: of PNG, pixels to a unit.

    Raises:
        RequestError: a file is no result, they can't be set against each other, or there is nothing of the kind to draw.
    """
    for name in formats:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
    files = list(dict.fromkeys(file for path in results for file in find_result_files(path)))
    entries = with_case_sets(read_results(files))
    drawn = [_gap(entries, across, metric)] if kind == "gap" else list(_charts(kind, entries))
    if not drawn:
        alone = NEEDED[kind] == CROSSES and not any(entry.targets for entry in entries)
        why = ", and these ask in one language alone" if alone else ""
        raise RequestError(f"There is nothing to draw: {kind} is of {NEEDED[kind]}{why}.")
    return [_write(chart, output, formats, scale) for chart in drawn]


def _charts(kind: Kind, entries: Sequence[Entry]) -> Iterator[Chart]:
    if kind == "matrix":
        yield from heatmaps(entries)
    elif kind == "families":
        yield from families(entries)
    else:
        _check_group(entries)
        yield from present(
            [charts.reliability_locality([*entries, *baselines(entries)], kind)]
            if kind == "balance"
            else [retention(entries, kind)]
        )


def _check_group(entries: Sequence[Entry]) -> None:
    """
    Raises:
        RequestError: they are of several groups, or of different cases.
    """
    first = entries[0]
    for other in entries:
        if other.group == first.group or first.result is None or other.result is None:
            continue
        differences = group_differences(first.result, other.result)
        told = {name: both for facts in differences.values() for name, both in facts.items()}
        why = in_words(told) if told else f"cases ({first.n_cases:,} and {other.n_cases:,}, few of them the same)"
        raise RequestError(
            f"{_named(first)} and {_named(other)} can't stand in one picture, since they differ in {why}: name results of one "
            "comparable group."
        )


def _named(entry: Entry) -> str:
    return str(entry.folder or entry.id)


def _gap(entries: Sequence[Entry], across: Across, metric: str | None) -> Chart:
    """Of each method and model with two results that are alike but for the way of asking."""
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in sorted(entries, key=_place_of_way):
        found.setdefault((entry.model, entry.method), []).append(entry)
    twos = {key: members for key, members in found.items() if len(members) > 1}
    if not twos:
        raise RequestError(
            f"There is nothing to draw: gap is of two results of a method that differ in their {across}."
        )
    gaps: list[Gap] = []
    first, second, *_ = next(iter(twos.values()))
    for (model, method), members in twos.items():
        if len(members) > 2:
            raise RequestError(f"{len(members)} results are of {method} on {model}; a gap is of two, so name the two.")
        _check_group([first, members[0]])
        _check_group([second, members[1]])
        gaps.append(find_gap(_file(members[0]), _file(members[1]), across, cases=0))
    chosen = metric or _exact(gaps)
    lines = [
        TwoWays(
            gap.a.result.method.name,
            gap.a.result.model.name,
            {(row.property, row.language): (row.a, row.b) for row in gap.parts[0].rows if row.metric == chosen},
        )
        for gap in gaps
    ]
    if not any(line.values for line in lines):
        raise unknown("metric of both:", chosen, gaps[0].metrics)
    ways = (_way(first, across), _way(second, across))
    shared = f"{max(gap.shared for gap in gaps):,} cases"
    return two_ways("gap", f"{ways[0]} and {ways[1]}: {first.task}, {shared}, {chosen}", ways, chosen, lines)


def _exact(gaps: Sequence[Gap]) -> str:
    names = [name for name in HEADLINES[gaps[0].a.result.protocol][::-1] if all(name in gap.metrics for gap in gaps)]
    return (names or list(gaps[0].metrics))[0]


def _way(entry: Entry, across: Across) -> str:
    return str(getattr(entry, across)).replace("_", " ")


def _place_of_way(entry: Entry) -> tuple[int, int, str]:
    """Teacher forcing before free answers, after each edit before after all."""
    points = ("after_each", "after_batch", "after_all")
    return [*HEADLINES].index(entry.protocol), points.index(Regime.read(entry.regime).point), entry.id


def _file(entry: Entry) -> Path:
    assert entry.folder is not None
    return entry.folder / RESULT


def _write(chart: Chart, output: Path, formats: Sequence[str], scale: float) -> Picture:
    svg = sheet(chart).printed()
    contents: dict[str, bytes] = {"csv": chart.csv.encode()}
    if "svg" in formats:
        contents["svg"] = svg.encode()
    if "png" in formats:
        contents["png"] = as_png(svg, scale)
    files = [output / f"{chart.id}.{name}" for name in contents]
    try:
        output.mkdir(parents=True, exist_ok=True)
        for file, content in zip(files, contents.values(), strict=True):
            file.write_bytes(content)
    except OSError as error:
        raise RequestError(f"Can't write to {output}: {error.strerror}.") from error
    return Picture(chart, files)
