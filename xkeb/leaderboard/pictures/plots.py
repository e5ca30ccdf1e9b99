"""The kinds of pictures: points on two axes, pairs of points on lines, outlines on a wheel, bars."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from xkeb.leaderboard.pictures.labels import Box, Mark, place_labels
from xkeb.leaderboard.pictures.svg import N_SERIES, Drawing, cut

WIDTH, HEIGHT = 440, 320
"""Of a plot with two axes; as wide as a telephone shows it, so that its texts stay legible there."""
NARROW = 360
"""Width of `pairs`, of which several stand side by side."""
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 42
ROW, LABELS = 24, 118
"""Height of a line of `pairs` and `bars`, and the width of their labels."""
PERCENT = (0, 20, 40, 60, 80, 100)


@dataclass(frozen=True)
class Axis:
    title: str
    low: float
    high: float
    ticks: Sequence[float]
    log: bool = False

    def place(self, value: float) -> float:
        """From 0 to 1."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, self.low))
        return (value - low) / (high - low)


def percent(title: str, values: Iterable[float] = (0.0, 100.0)) -> Axis:
    """From 0 to 100, or as far as the values go."""
    known = list(values)
    low, high = 10 * math.floor(min(known) / 10 - 0.2), 10 * math.ceil(max(known) / 10 + 0.2)
    low, high = max(low, 0), min(high, 100)
    step = 10 if high - low <= 60 else 20
    return Axis(title, low - 2, high + 2, range(math.ceil(low / step) * step, high + 1, step))


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    series: int
    tip: str
    size: float = 5
    label: str = ""
    role: str = ""
    interval: tuple[float, float] | None = None
    """Of `y`; a line from one end to the other."""


def front(points: Iterable[Point]) -> list[Point]:
    """Those that no other point is above and right of (Pareto), from left to right."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (-point.x, -point.y)):
        if not found or point.y > found[-1].y:
            found.append(point)
    return found[::-1]


def scatter(points: Sequence[Point], x: Axis, y: Axis, best: Sequence[Point] = ()) -> Drawing:
    """Points, those of the front joined by steps: up and right of it is nothing."""
    drawing, place = _axes(x, y)
    way: list[tuple[float, float]] = []
    if best:
        steps = [(x.low, best[0].y)]
        for left, right in itertools.pairwise(best):
            steps += [(left.x, left.y), (left.x, right.y)]
        steps += [(best[-1].x, best[-1].y), (best[-1].x, y.low)]
        way = [place(*step) for step in steps]
        drawing.path(way, "front")
    for point in sorted(points, key=lambda point: -point.size):
        drawing.mark(*place(point.x, point.y), point.series, point.tip, size=point.size, role=point.role)
    marks = [Mark(*place(point.x, point.y), point.size, cut(point.label)) for point in points]
    for label in place_labels(marks, way, Box(LEFT, 0, WIDTH, HEIGHT - BOTTOM)):
        drawing.text(label.x, label.y, label.text, label.anchor, "halo")
    return drawing


def lines(series: Mapping[int, Sequence[Point]], x: Axis, y: Axis) -> Drawing:
    """A line for each series, with its points."""
    drawing, place = _axes(x, y)
    for number, points in series.items():
        if len(points) > 1:
            drawing.path([place(point.x, point.y) for point in points], f"shape s{number % N_SERIES}")
        for point in points:
            across, down = place(point.x, point.y)
            if point.interval is not None:
                ends = [(across, place(point.x, end)[1]) for end in point.interval]
                drawing.path(ends, f"shape thin s{number % N_SERIES}")
            drawing.mark(across, down, number, point.tip, size=4)
    return drawing


def _axes(x: Axis, y: Axis) -> tuple[Drawing, _Place]:
    drawing, place = Drawing(WIDTH, HEIGHT), _Place(x, y)
    for tick in x.ticks:
        across, _ = place(tick, y.low)
        drawing.line((across, TOP), (across, HEIGHT - BOTTOM), "grid")
        drawing.text(across, HEIGHT - BOTTOM + 16, f"{tick:g}", "middle", "quiet")
    for tick in y.ticks:
        _, down = place(x.low, tick)
        drawing.line((LEFT, down), (WIDTH - RIGHT, down), "grid")
        drawing.text(LEFT - 6, down + 4, f"{tick:g}", "end", "quiet")
    drawing.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x.title, "middle")
    drawing.turned(13, (TOP + HEIGHT - BOTTOM) / 2, y.title, "middle")
    return drawing, place


@dataclass(frozen=True)
class _Place:
    """Where a value is in the picture."""

    x: Axis
    y: Axis

    def __call__(self, x: float, y: float) -> tuple[float, float]:
        across = LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT)
        return across, TOP + (1 - self.y.place(y)) * (HEIGHT - TOP - BOTTOM)


@dataclass(frozen=True)
class PairRow:
    """A line of `pairs`; without values, a heading."""

    label: str
    here: float | None = None
    there: float | None = None
    mark: str = ""
    """Stands after the label."""


def pairs(
    rows: Sequence[PairRow], before: float | None, names: tuple[str, str] = ("language of the edit", "another language")
) -> Drawing:
    """Two marks a line on an axis from 0 to 100, joined; series 0 is `here`, series 1 `there`.

    Args:
        before: where a dashed line stands.
        names: of the two series.
    """
    height = TOP + ROW * len(rows) + 34
    drawing = Drawing(NARROW, height)

    def across(value: float) -> float:
        return LABELS + value / 100 * (NARROW - LABELS - RIGHT)

    foot = TOP + ROW * len(rows)
    for tick in PERCENT:
        drawing.line((across(tick), TOP), (across(tick), foot), "grid")
        drawing.text(across(tick), foot + 15, tick, "middle", "quiet")
    if before is not None:
        drawing.line((across(before), TOP - 4), (across(before), foot), "base")
        anchor = "start" if before <= 12 else "end" if before >= 88 else "middle"  # or an edge would cut it
        drawing.text(across(before), foot + 30, f"unedited: {before:.0f}", anchor, "quiet")
    for i, row in enumerate(rows):
        down = TOP + ROW * i + ROW / 2
        if row.here is None and row.there is None:
            drawing.text(4, down + 5, row.label, role="quiet")
            continue
        drawing.text(LABELS - 12, down + 4, row.label + row.mark, "end", "bold")
        if row.here is not None and row.there is not None:
            drawing.line((across(row.here), down), (across(row.there), down), "axis")
        for series, value, name in ((1, row.there, names[1]), (0, row.here, names[0])):
            if value is not None:
                drawing.mark(across(value), down, series, f"{row.label}, {name}: {value:.1f}", size=6)
    return drawing


def bars(rows: Sequence[tuple[str, float, str]]) -> Drawing:
    """A bar a line, from 0 to 100: label, length, and what stands behind it."""
    drawing = Drawing(WIDTH, TOP + ROW * len(rows) + 22)
    whole = WIDTH - LABELS - 74
    for tick in (0, 50, 100):
        across = LABELS + tick / 100 * whole
        drawing.line((across, TOP), (across, TOP + ROW * len(rows)), "grid")
        drawing.text(across, TOP + ROW * len(rows) + 15, tick, "middle", "quiet")
    for i, (label, value, note) in enumerate(rows):
        down = TOP + ROW * i
        drawing.text(LABELS - 8, down + 16, label, "end")
        drawing.bar(LABELS, down + 4, max(1.0, value / 100 * whole), ROW - 9, "s0", f"{label}: {value:.1f}")
        drawing.text(LABELS + value / 100 * whole + 6, down + 16, f"{value:.0f}", role="bold")
        drawing.text(WIDTH - 4, down + 16, note, "end", "quiet")
    return drawing


@dataclass(frozen=True)
class Outline:
    values: Sequence[float | None]
    role: str
    tip: str


def radar(outlines: Sequence[Outline], labels: Sequence[str]) -> Drawing:
    """Outlines on as many axes as labels, from 0 at the centre to 100 at the rim."""
    size, radius = 300.0, 96.0
    middle = size / 2
    drawing = Drawing(size, size - 40)
    turns = [2 * math.pi * i / len(labels) - math.pi / 2 for i in range(len(labels))]

    def place(turn: float, value: float) -> tuple[float, float]:
        return middle + math.cos(turn) * radius * value / 100, middle - 20 + math.sin(turn) * radius * value / 100

    for ring in (25, 50, 75, 100):
        drawing.path([place(turn, ring) for turn in turns], "front grid", closed=True)
    for turn, label in zip(turns, labels, strict=True):
        drawing.line(place(turn, 0), place(turn, 100), "grid")
        x, y = place(turn, 112)
        side = math.cos(turn)
        drawing.text(x, y + 4, label, "middle" if abs(side) < 0.3 else "start" if side > 0 else "end", "quiet")
    for outline in outlines:
        points = [place(turn, value) for turn, value in zip(turns, outline.values, strict=True) if value is not None]
        if points:
            drawing.path(points, outline.role, closed=True, tip=outline.tip)
    return drawing
