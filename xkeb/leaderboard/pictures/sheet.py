"""A whole picture as one drawing: its plots with their titles, and what colours and shapes stand for."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from xkeb.leaderboard.pictures.chart import Chart, Panel
from xkeb.leaderboard.pictures.svg import LONGEST, Drawing

LINE, GAP = 17, 18
"""Height of a line of text, and what is between two plots."""
LETTER = 6.6
"""About the width of a letter, in the picture's own units."""
COLUMNS, SMALL_COLUMNS = 2, 3
"""Plots side by side, and small ones."""


def sheet(chart: Chart) -> Drawing:
    """All of a chart but its title and its note, which a paper says in the caption."""
    columns = min(len(chart.panels), SMALL_COLUMNS if chart.small else COLUMNS)
    rows = [chart.panels[i : i + columns] for i in range(0, len(chart.panels), columns)]
    widths = [max(row[k].drawing.width for row in rows if k < len(row)) for k in range(columns)]
    whole = Drawing(sum(widths) + GAP * (columns + 1), 0)
    down = _keys(whole, chart) + GAP / 2
    for row in rows:
        titles = [_lines(panel) for panel in row]
        head = LINE * max(len(lines) for lines in titles)
        x = float(GAP)
        for panel, lines, width in zip(row, titles, widths, strict=False):
            for i, line in enumerate(lines):
                whole.text(x + panel.drawing.width / 2, down + LINE * (i + 0.7), line, "middle", "bold")
            whole.place(panel.drawing, x, down + head)
            x += width + GAP
        down += head + max(panel.drawing.height for panel in row) + GAP
    whole.height = down
    return whole


def _lines(panel: Panel) -> Sequence[str]:
    return textwrap.wrap(panel.title, min(LONGEST, int(panel.drawing.width / LETTER)))


def _keys(whole: Drawing, chart: Chart) -> float:
    """Draws them above; returns where they end."""
    down = float(GAP) / 2
    for line in _wrapped(chart.keys, whole.width - 2 * GAP):
        x = float(GAP)
        for classes, text in line:
            _key(whole, x + 6, down + LINE / 2, classes, text)
            whole.text(x + 18, down + LINE / 2 + 4, text)
            x += _width(text)
        down += LINE
    return down


def _key(whole: Drawing, x: float, y: float, classes: str, text: str) -> None:
    if "shape" in classes:
        whole.path([(x - 7, y), (x + 7, y)], classes)
    elif "shade" in classes:
        whole.path([(x - 6, y - 5), (x + 6, y - 5), (x + 6, y + 5), (x - 6, y + 5)], "shade", closed=True)
    else:
        first, _, role = classes.partition(" ")
        whole.mark(x, y, int(first[1:]), text, role=role)


def _width(text: str) -> float:
    return 34 + LETTER * min(len(text), LONGEST)


def _wrapped(keys: Sequence[tuple[str, str]], width: float) -> Iterator[list[tuple[str, str]]]:
    line: list[tuple[str, str]] = []
    filled = 0.0
    for classes, text in keys:
        if line and filled + _width(text) > width:
            yield line
            line, filled = [], 0.0
        line.append((classes, text))
        filled += _width(text)
    if line:
        yield line
