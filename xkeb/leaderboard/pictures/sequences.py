"""Many edits on one model: what is kept of the earlier ones, and what a score owes to when the questions are asked."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from xkeb.leaderboard.pictures.chart import Chart, Panel, one_digit, way
from xkeb.leaderboard.pictures.plots import Axis, Point, lines, percent
from xkeb.leaderboard.pictures.svg import N_SERIES
from xkeb.leaderboard.pictures.ways import TwoWays, two_ways
from xkeb.leaderboard.rows.entries import Cell, Entry
from xkeb.leaderboard.rows.sequences import Twins

MOST_PANELS = 6
APART = 0.025
"""How far two lines stand from each other at the same number of edits, as a part of it: intervals aren't drawn one upon the
other."""


def retention(members: Sequence[Entry], name: str) -> Chart | None:
    """Retention curves of one group: after how many edits which part of all edits so far is still there. A panel a question.

    Args:
        members: rows of one group.
    """
    kept = [entry for entry in members if entry.badge == "reproduced" and entry.result and entry.result.retention]
    kept.sort(
        key=lambda entry: (entry.method, entry.model, entry.id)
    )  # so that a method has its colour in every picture
    if not kept:
        return None
    panels, rows = [], []
    asked = sorted({int(edits) for entry in kept for edits in (entry.result and entry.result.retention) or {}})
    across = Axis("edits so far (logarithmic)", asked[0] / 1.6, asked[-1] * 1.6, asked, log=True)
    several = len({entry.model for entry in kept}) > 1
    names = [f"{entry.method}, {entry.model}" if several else entry.method for entry in kept]
    for place in _places(kept)[:MOST_PANELS]:
        series: dict[int, list[Point]] = {}
        for number, entry in enumerate(kept):
            shift = 1 + APART * (number - (len(kept) - 1) / 2)
            for edits, mean, (low, high), n in _curve(entry, place):
                tip = f"{names[number]}, {edits:,} edits: {mean:.1f} ({low:.1f} to {high:.1f}), {n:,} asked"
                point = Point(edits * shift, mean, number, tip, interval=(low, high))
                series.setdefault(number, []).append(point)
                rows.append(
                    [names[number], *place, str(edits), one_digit(mean), one_digit(low), one_digit(high), str(n)]
                )
        if series:
            panels.append(Panel(f"{place[0]}, {place[1]}", lines(series, across, percent(kept[0].headline))))
    first = kept[0]
    return Chart(
        name,
        f"Earlier edits, asked again: {first.task}, {way(first.asked)}",
        f"{len(panels)} plots with a line for each of {len(kept)} rows: {first.headline} of all edits so far against their "
        "number. The numbers stand in the table below.",
        panels,
        ["method", "property", "language", "edits", first.headline, "from", "to", "asked"],
        rows,
        [(f"s{number % N_SERIES}", text) for number, text in enumerate(names)],
        f"{first.headline} of the questions of all edits so far, asked again after the last of them; upright lines are 95% "
        "intervals over subjects. A line that falls forgets.",
    )


def _places(entries: Sequence[Entry]) -> list[Cell]:
    """Reliability, then generality in the language of the edits, then in the others."""
    return [
        ("reliability", entries[0].source),
        *(("generality", code) for code in dict.fromkeys(code for entry in entries for code in entry.languages)),
    ]


def _curve(entry: Entry, place: Cell) -> list[tuple[int, float, tuple[float, float], int]]:
    """Edits, mean, interval and the number of cases."""
    found = []
    for edits, scores in ((entry.result and entry.result.retention) or {}).items():
        score = next(
            (of[place[1]].get(entry.headline) for name, of in scores.items() if name == place[0] and place[1] in of),
            None,
        )
        if score is not None:
            found.append((int(edits), score.mean, score.ci95, score.n))
    return sorted(found)


def points(pairs: Sequence[Twins], name: str) -> Chart:
    """The same sequences asked after each edit and after all.

    Args:
        pairs: of the same two groups.
    """
    first = pairs[0]
    ways = tuple(entry.regime.partition("@")[2].replace("_", " ") for entry in (first.early, first.late))
    return two_ways(
        name,
        f"Asked {ways[0]} and {ways[1]}: {first.early.task}, {way(first.early.asked.partition('@')[0])}",
        (ways[0], ways[1]),
        first.early.headline,
        [TwoWays(pair.early.method, pair.early.model, _at_both(pair)) for pair in pairs],
    )


def _at_both(pair: Twins) -> dict[Cell, tuple[float, float]]:
    """Reliability, generality in the language of the edits, and the mean of it in the others, where there are any."""
    early, late = pair.early, pair.late
    others = "others" if len(early.targets) > 1 else early.target
    asked: dict[Cell, list[Cell]] = {
        ("reliability", early.source): [("reliability", early.source)],
        ("generality", early.source): [("generality", early.source)],
        ("generality", others): [("generality", code) for code in early.targets],
    }
    found: dict[Cell, tuple[float, float]] = {}
    for place, cells in asked.items():
        both = [[value for cell in cells if (value := entry.mean(cell)) is not None] for entry in (early, late)]
        if all(both):
            found[place] = (fmean(both[0]), fmean(both[1]))
    return found
