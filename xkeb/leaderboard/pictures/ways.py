"""Two ways of asking, a line a method: what a score owes to the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xkeb.leaderboard.pictures.chart import Chart, Panel, one_digit
from xkeb.leaderboard.pictures.plots import PairRow, pairs
from xkeb.leaderboard.rows.entries import Cell

MOST_PANELS = 6


@dataclass(frozen=True)
class TwoWays:
    """One method on one model, asked the same in two ways."""

    method: str
    model: str
    values: Mapping[Cell, tuple[float, float]]
    """By property and language, percent the first way and the second."""


def two_ways(name: str, title: str, ways: tuple[str, str], metric: str, found: Sequence[TwoWays]) -> Chart:
    """A panel a property and language, with a line for each method.

    Args:
        found: of two comparable groups, the same two for all.
    """
    places = list(dict.fromkeys(place for one in found for place in one.values))[:MOST_PANELS]
    panels = []
    for place in places:
        drawn: list[PairRow] = []
        for model in dict.fromkeys(one.model for one in found):
            drawn.append(PairRow(model))
            drawn += [
                PairRow(one.method, *one.values[place]) for one in found if one.model == model and place in one.values
            ]
        panels.append(Panel(f"{place[0]}, {place[1]}", pairs(drawn, None, ways)))
    return Chart(
        name,
        title,
        f"{len(panels)} plots with a line for each of {len(found)} methods: {metric}, {ways[0]} and {ways[1]}. The numbers "
        "stand in the table below.",
        panels,
        ["method", "model", "property", "language", f"{metric}, {ways[0]}", f"{metric}, {ways[1]}", "gap"],
        [
            [one.method, one.model, *place, one_digit(a), one_digit(b), f"{b - a:+.1f}"]
            for one in found
            for place, (a, b) in one.values.items()
        ],
        [("s0", ways[0]), ("s1", ways[1])],
        f"{metric} of the same cases of each method, asked in both ways. Neither way is better; a long line is a score "
        "that owes much to the way of asking.",
    )
