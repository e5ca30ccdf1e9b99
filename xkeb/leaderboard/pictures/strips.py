"""Marks on lines, a line a group: how a measure is spread within it, and its mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from xkeb.leaderboard.pictures.plots import RIGHT, TOP, WIDTH, Axis, Point
from xkeb.leaderboard.pictures.svg import N_SERIES, Drawing

ROW, LABELS = 30, 118
"""Height of a line, and the width of the labels."""
SPREAD = 7
"""How far the series of a line stand from each other, at most."""


def strips(rows: Mapping[str, Sequence[Point]], x: Axis) -> Drawing:
    """A line for each group, with a mark for each point, and for each series an upright bar at its mean; a dashed line at 0.

    Args:
        rows: by label, points whose `y` says nothing.
    """
    foot = TOP + ROW * len(rows)
    drawing = Drawing(WIDTH, foot + 40)

    def across(value: float) -> float:
        return LABELS + x.place(value) * (WIDTH - LABELS - RIGHT)

    for tick in x.ticks:
        drawing.line((across(tick), TOP), (across(tick), foot), "grid" if tick else "base")
        drawing.text(across(tick), foot + 15, f"{tick:g}", "middle", "quiet")
    drawing.text((LABELS + WIDTH - RIGHT) / 2, foot + 33, x.title, "middle")
    series = sorted({point.series for points in rows.values() for point in points})
    step = min(SPREAD, (ROW - 10) / max(1, len(series) - 1))
    for i, (label, points) in enumerate(rows.items()):
        middle = TOP + ROW * (i + 0.5)
        drawing.text(LABELS - 10, middle + 4, label, "end")
        for k, number in enumerate(series):
            down = middle + step * (k - (len(series) - 1) / 2)
            own = [point for point in points if point.series == number]
            for point in own:
                drawing.mark(across(point.x), down, number, point.tip, size=4, role="faint" if len(own) > 1 else "")
            if len(own) > 1:
                mean = across(fmean(point.x for point in own))
                drawing.path([(mean, down - 6), (mean, down + 6)], f"shape s{number % N_SERIES}", tip=f"{label}: mean")
    return drawing


def wide_percent(title: str, values: Sequence[float]) -> Axis:
    """An axis of percent that may be below 0 and above 100: from 0 to 100, or farther where the values go."""
    low, high = min(0.0, *values), max(100.0, *values)
    step = next(step for step in (20, 50, 100, 200, 500, 10**9) if high - low <= 8 * step)
    first, last = math.floor(low / step) * step, math.ceil(high / step) * step
    return Axis(title, first, last, range(first, last + 1, step))
