"""The pictures: what of the rows they show, with a text for those who don't see them and the same numbers as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from xkeb.leaderboard.pictures.chart import Chart, Panel, one_digit, way
from xkeb.leaderboard.pictures.plots import (
    Axis,
    Outline,
    Point,
    bars,
    front,
    lines,
    percent,
    radar,
    scatter,
)
from xkeb.leaderboard.pictures.svg import N_SERIES
from xkeb.leaderboard.rows.entries import Badge, Entry
from xkeb.leaderboard.rows.overall import stays
from xkeb.types import PROPERTIES

SIZES = (100, 500, 1000, 3000, 5000, 10000)
"""Training facts of the paper's Figure 3."""
BADGES: tuple[Badge, ...] = ("published", "reproduced", "baseline")
ROLES: Mapping[Badge, str] = {
    "published": "shape s4",
    "reproduced": "shape dash s2",
    "baseline": "shade",
}
FEWEST_BARS, MOST_BARS = 2, 30
SMALLEST, LARGEST = 3.0, 9.0
"""Marks whose size is a cost."""


def reliability_locality(entries: Sequence[Entry], name: str) -> Chart | None:
    """Whether edits take, against whether other facts stay, of one group."""
    return _against_locality(entries, name, "reliability", "Reliability against locality", sized=False)


def transfer_locality(entries: Sequence[Entry], name: str) -> Chart | None:
    """What crosses, against whether other facts stay, of one group; the larger the mark, the longer a case takes."""
    return _against_locality(
        entries, name, "generality in another language", "What crosses against locality, and its cost", sized=True
    )


def _against_locality(entries: Sequence[Entry], name: str, what: str, title: str, *, sized: bool) -> Chart | None:
    placed = []
    for entry in entries:
        ours = (
            [entry.mean(("reliability", entry.source))]
            if not sized
            else [entry.mean(("generality", code)) for code in entry.targets]
        )
        known, kept = [value for value in ours if value is not None], stays(entry)
        if known and kept is not None:
            placed.append((entry, kept, fmean(known)))
    edited = [entry for entry, *_ in placed if entry.badge != "baseline"]
    if len(edited) < 2:
        return None
    methods = sorted({entry.method for entry in edited})
    slowest = max((entry.seconds or 0.0 for entry in edited), default=0.0)
    several = len({entry.model for entry in edited}) > 1
    points = []
    for entry, kept, value in placed:
        who = f"{_label(entry, several=True)}: locality {kept:.1f}, {what} {value:.1f}"
        cost = f", {entry.seconds:.2f} s a case" if sized and entry.seconds is not None else ""
        size = SMALLEST + (LARGEST - SMALLEST) * ((entry.seconds or 0.0) / slowest) ** 0.5 if sized and slowest else 5.0
        if entry.badge == "baseline":
            points.append(Point(kept, value, 7, f"unedited {who}", 4.0, role="faint"))
        else:
            points.append(Point(kept, value, methods.index(entry.method), who + cost, size))
    best = front([point for point, (entry, *_) in zip(points, placed, strict=True) if entry.badge != "baseline"])
    for i, (entry, *_) in enumerate(placed):
        if points[i] in best:
            points[i] = replace(points[i], label=_label(entry, several=several))
        else:
            points[i] = replace(points[i], role="faint")
    across = percent("locality: other facts stay, F1", [point.x for point in points])
    upwards = percent(f"{what}, F1", [point.y for point in points])
    first = edited[0]
    return Chart(
        name,
        f"{title}: {first.task}, {_cases(edited)}, {way(first.asked)}",
        f"Scatter plot of {len(edited)} rows of one group: F1 of locality against F1 of {what}. Not surpassed in both are "
        f"{', '.join(point.label for point in points if point.label)}.",
        [Panel("", scatter(points, across, upwards, best))],
        ["method", "model", "kind", "locality", what, "seconds a case"],
        [
            [
                entry.method,
                entry.model,
                entry.badge,
                one_digit(kept),
                one_digit(value),
                "" if entry.seconds is None else f"{entry.seconds:.2f}",
            ]
            for entry, kept, value in placed
        ],
        [
            *((f"s{i % N_SERIES}", method) for i, method in enumerate(methods)),
            *([("s7 faint", "unedited")] if len(placed) > len(edited) else []),
        ],
        "The line is the front: no row of this group is above and right of it."
        + (" The larger a mark, the longer a case takes." if sized and slowest else ""),
    )


def _label(entry: Entry, *, several: bool) -> str:
    name = f"{entry.method} ({entry.train_size:,})" if entry.train_size else entry.method
    return f"{name}, {entry.model}" if several else name


def radars(chosen: Sequence[Entry], name: str) -> Chart | None:
    """The paper's Figure 2, a panel a method: F1 of each property when one model is edited in one language.

    Args:
        chosen: rows of one model and group; published ones may be among them.
    """
    edited = [entry for entry in chosen if entry.badge != "baseline"]
    if not edited:
        return None
    source, task = chosen[0].source, chosen[0].task
    codes = sorted({code for entry in chosen for code in entry.languages})
    axes = [("reliability", source), *((prop, code) for prop in PROPERTIES[1:] for code in codes)]
    labels = [f"{prop[:3]}. {code[:8]}" for prop, code in axes]
    panels = []
    for method in sorted({entry.method for entry in edited}):
        shown = [entry for entry in chosen if entry.method in (method, "no edit")]
        shown.sort(key=lambda entry: -BADGES.index(entry.badge))  # the baseline behind the others
        outlines = [
            Outline([entry.mean(axis) for axis in axes], ROLES[entry.badge], f"{entry.badge}, {entry.origin}")
            for entry in shown
        ]
        panels.append(Panel(method, radar(outlines, labels)))
    gained = " What lies outside the shaded shape was gained by the edit." if len(edited) < len(chosen) else ""
    present = {entry.badge for entry in chosen}
    return Chart(
        name,
        f"{chosen[0].model} edited in {source}, {task}, {_cases(chosen)}, {way(chosen[0].asked)}: F1 by property",
        f"{len(panels)} radar charts, one a method, each with an axis for every property and language, from 0 at the centre to "
        "100 at the rim. The numbers stand in the table below.",
        panels,
        ["method", "kind", *(f"{prop} ({code})" for prop, code in axes)],
        [
            [entry.method, f"{entry.badge}, {entry.origin}", *(one_digit(entry.mean(axis)) for axis in axes)]
            for entry in chosen
        ],
        [(ROLES[badge], badge) for badge in BADGES if badge in present],
        "From 0 at the centre to 100 at the rim: rel(iability), gen(erality), loc(ality) and por(tability), by the language "
        f"that is asked in.{gained}",
        small=True,
    )


def training_sizes(entries: Sequence[Entry], name: str) -> Chart | None:
    """The paper's Figure 3: F1 against the number of training facts, a panel a property, for methods run with several.

    Args:
        entries: the rows of one group.
    """
    learnt: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        if entry.train_size:
            learnt.setdefault((entry.method, entry.model), []).append(entry)
    traces: dict[str, dict[int, list[Point]]] = {prop: {} for prop in PROPERTIES}
    keys: list[tuple[str, str]] = []
    rows = []
    for (method, model), members in sorted(learnt.items()):
        members.sort(key=lambda entry: (entry.train_size or 0, entry.id))
        if len({entry.train_size for entry in members}) < 2:
            continue
        for code in dict.fromkeys(members[0].languages):
            line, number = f"{method}, {model}: {code}", len(keys)
            keys.append((f"s{number % N_SERIES}", line))
            for prop in PROPERTIES:
                for entry in members:
                    if (value := entry.mean((prop, code))) is not None:
                        tip = f"{line}, {entry.train_size:,} facts: {value:.1f}"
                        traces[prop].setdefault(number, []).append(Point(entry.train_size or 1, value, number, tip))
                        rows.append([line, prop, str(entry.train_size), one_digit(value)])
    if not rows:
        return None
    shown = [point.x for series in traces.values() for points in series.values() for point in points]
    x = Axis(
        "training facts (logarithmic)",
        min(shown) / 1.6,
        max(shown) * 1.6,
        [size for size in SIZES if min(shown) <= size <= max(shown)],
        log=True,
    )
    return Chart(
        name,
        f"F1 against the number of training facts: {entries[0].task}, {way(entries[0].asked)}",
        "A plot for each property, with a line for each method, model and language; the axis of training facts is logarithmic.",
        [Panel(prop, lines(series, x, percent("F1"))) for prop, series in traces.items() if series],
        ["line", "property", "training facts", "F1"],
        rows,
        keys,
    )


def slices(entry: Entry) -> Iterator[Chart]:
    """Of one result, generality in another language by what the data tells of its cases, as their relation; of a task of one
    language, generality in it."""
    where = "another language" if entry.targets else entry.source
    kinds: dict[str, list[tuple[str, float, int]]] = {}
    for name, scores in entry.slices.items():
        kind, _, value = name.partition("=")
        parts = [
            score
            for code in entry.targets or (entry.source,)
            if (score := scores.get(("generality", code), {}).get(entry.headline)) is not None
        ]
        if parts:
            kinds.setdefault(kind, []).append(
                (value, fmean(score.mean for score in parts), max(score.n or 0 for score in parts))
            )
    for i, (kind, values) in enumerate(sorted(kinds.items())):
        if len(values) < FEWEST_BARS:
            continue
        values.sort(key=lambda value: (-value[2], value[0]))
        shown = values[:MOST_BARS]
        yield Chart(
            f"slices-{i}",
            f"Generality in {where}, by {kind}",
            f"A bar for each of {len(shown)} values: F1, and the number of cases.",
            [Panel("", bars([(value, mean, f"n {n}") for value, mean, n in shown]))],
            [kind, f"F1, {where}", "cases"],
            [[value, one_digit(mean), str(n)] for value, mean, n in values],
            note=f"Those with most cases first{'' if len(shown) == len(values) else f'; {len(shown)} of {len(values)}'}.",
        )


def _cases(entries: Sequence[Entry]) -> str:
    """How many the fullest of the rows has."""
    return f"{max(entry.n_cases or 0 for entry in entries):,} cases"
