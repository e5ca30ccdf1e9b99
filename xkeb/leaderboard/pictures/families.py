"""What crosses to a language, against its family and its script."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from xkeb.leaderboard.pictures.chart import Chart, Panel, one_digit
from xkeb.leaderboard.pictures.plots import Point
from xkeb.leaderboard.pictures.strips import strips, wide_percent
from xkeb.leaderboard.pictures.svg import N_SERIES
from xkeb.leaderboard.rows.entries import Entry
from xkeb.leaderboard.rows.matrices import CrossingMatrix, matrices
from xkeb.registry.manager import get_plugins
from xkeb.types import Language

UNKNOWN = "not said"


def families(entries: Sequence[Entry]) -> Iterator[Chart]:
    """One for each model and set of comparable groups with results of several targets: methods that were asked the same."""
    found: dict[tuple[str, frozenset[str]], list[CrossingMatrix]] = {}
    for one in matrices(entries):
        if one.transfer:
            found.setdefault((one.model, one.groups), []).append(one)
    for number, members in enumerate(found.values()):
        yield _chart(members, f"families-{number}")


def _chart(members: Sequence[CrossingMatrix], name: str) -> Chart:
    crossed = [_by_target(one) for one in members]
    axis = wide_percent("transfer, percent", [value for values in crossed for value in values.values()])
    panels = []
    for title, group_of in (("By family", _family), ("By script", _script)):
        rows: dict[str, list[Point]] = {}
        for series, (one, values) in enumerate(zip(members, crossed, strict=True)):
            for code, value in values.items():
                tip = f"{one.method}, {_name(code)}: {value:.1f}"
                rows.setdefault(group_of(code), []).append(Point(value, 0, series, tip))
        means = {group: fmean(point.x for point in points) for group, points in rows.items()}
        panels.append(
            Panel(title, strips({group: rows[group] for group in sorted(means, key=lambda one: -means[one])}, axis))
        )
    sources = sorted({source for one in members for source, _ in one.transfer})
    source = f"edits in {sources[0]}" if len(sources) == 1 else f"edits in {len(sources)} languages"
    codes = sorted({code for values in crossed for code in values})
    return Chart(
        name,
        f"Transfer of {members[0].metrics[0]} by family and script: {members[0].basis}, {source}",
        f"Two plots with a mark for each of {len(codes)} languages and {len(members)} methods, a line for each family and for "
        "each script. The numbers stand in the table below.",
        panels,
        ["method", "language", "family", "script", "transfer"],
        [
            [one.method, code, _family(code), _script(code), one_digit(value)]
            for one, values in zip(members, crossed, strict=True)
            for code, value in values.items()
        ],
        [(f"s{series % N_SERIES}", one.method) for series, one in enumerate(members)],
        "A mark a language that is asked in, an upright bar their mean. Transfer is what generality gains there, in percent of "
        "what it gains in the language of the edits"
        + ("." if len(sources) == 1 else "; of several languages of edits, the mean over them."),
    )


def _by_target(one: CrossingMatrix) -> dict[str, float]:
    """Mean over the languages of the edits."""
    values: dict[str, list[float]] = {}
    for (_, target), value in sorted(one.transfer.items()):
        values.setdefault(target, []).append(value)
    return {target: fmean(of) for target, of in values.items()}


def _said(code: str, what: Callable[[Language], str]) -> str:
    """Codes come from outside: not each is a language of ours."""
    languages = get_plugins().languages
    return (what(languages.get(code)) if code in languages else "") or UNKNOWN


def _family(code: str) -> str:
    return _said(code, lambda language: language.family)


def _script(code: str) -> str:
    return _said(code, lambda language: language.script)


def _name(code: str) -> str:
    name = _said(code, lambda language: language.name)
    return code if name == UNKNOWN else name
