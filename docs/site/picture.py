"""A picture of the packages in their layers, as SVG that needs no script and takes its colours from the page."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from packages import Imports, direct, layered

WIDTH, HEIGHT, ROW, GAP = 152, 34, 78, 16
"""Of a box; from one row to the next; between boxes."""
SWEEPS = 24

Node = tuple[str, int]
"""A package and the row in which a line to or from it passes; a package's own row is its box."""


def picture() -> str:
    """The figure: boxes in rows, an arrow from each package to those that it imports, with a text alternative."""
    layers, imports = layered()
    arrows = direct(imports)
    depth = {package: i for i, layer in enumerate(layers) for package in layer}
    lines = [
        [(package, depth[package]), *_passing(package, other, depth), (other, depth[other])]
        for package in arrows
        for other in sorted(arrows[package])
    ]
    rows: list[list[Node]] = [[(package, i) for package in layer] for i, layer in enumerate(layers)]
    for line in lines:
        for node in line[1:-1]:
            rows[node[1]].append(node)
    centers = _place(rows, list(itertools.chain.from_iterable(itertools.pairwise(line) for line in lines)))
    left = min(center - _width(node) / 2 for node, center in centers.items())
    right = max(center + _width(node) / 2 for node, center in centers.items())
    box = f"{left - 4:.0f} 0 {right - left + 8:.0f} {ROW * (len(layers) - 1) + HEIGHT + 8}"
    return "\n".join(
        [
            '<figure class="packages">',
            f'<svg viewBox="{box}" role="img" aria-labelledby="packages-title packages-desc" fill="none" '
            'stroke="currentColor" stroke-width="1.2">',
            '<title id="packages-title">The packages of xkeb and their imports</title>',
            f'<desc id="packages-desc">{_in_words(layers, imports)}</desc>',
            '<defs><marker id="packages-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor" stroke="none"/></marker></defs>',
            *(_curve([(centers[node], node[1]) for node in line]) for line in lines),
            *(_box(package, centers[package, i], i) for i, layer in enumerate(layers) for package in layer),
            "</svg>",
            "<figcaption>An arrow is an import. Where a longer way by other arrows leads to the same package, the arrow is "
            "left out; the list below has every import.</figcaption>",
            "</figure>",
        ]
    )


def _passing(package: str, other: str, depth: dict[str, int]) -> list[Node]:
    """The rows that a line crosses on its way; lines to one package share them from where they meet."""
    return [(f"{package}>{other}", row) for row in range(depth[package] + 1, depth[other])]


def _width(node: Node) -> float:
    return 0 if ">" in node[0] else WIDTH


def _place(rows: Sequence[list[Node]], edges: Sequence[tuple[Node, Node]]) -> dict[Node, float]:
    """The center of each node, near those that it is joined to; nodes of one row keep their distance.

    Nodes are sorted by the mean of their neighbours' places, row by row, as in Sugiyama's method.
    """
    near: dict[Node, list[Node]] = {node: [] for row in rows for node in row}
    for one, other in edges:
        near[one].append(other)
        near[other].append(one)
    centers = {node: float(i * (WIDTH + GAP)) for row in rows for i, node in enumerate(row)}
    for _ in range(SWEEPS):
        for row in (*rows, *reversed(rows)):
            targets = {
                node: sum(centers[other] for other in near[node]) / len(near[node]) if near[node] else centers[node]
                for node in row
            }
            row.sort(key=lambda node: targets[node])
            _spread(row, targets, centers)
    return centers


def _spread(row: Sequence[Node], targets: dict[Node, float], centers: dict[Node, float]) -> None:
    """The places nearest to the targets at which nothing overlaps: runs of nodes that touch share their shift."""
    offsets = [0.0]
    for one, other in itertools.pairwise(row):
        offsets.append(offsets[-1] + (_width(one) + _width(other)) / 2 + GAP)
    runs: list[tuple[float, int]] = []
    for node, offset in zip(row, offsets, strict=True):
        runs.append((targets[node] - offset, 1))
        while len(runs) > 1 and runs[-2][0] > runs[-1][0]:
            (low, few), (high, more) = runs[-2:]
            runs[-2:] = [((low * few + high * more) / (few + more), few + more)]
    shifts = [shift for shift, count in runs for _ in range(count)]
    for node, offset, shift in zip(row, offsets, shifts, strict=True):
        centers[node] = offset + shift


def _curve(points: Sequence[tuple[float, int]]) -> str:
    """A line from the lower edge of the first box to the upper edge of the last, down past the boxes between."""
    x, row = points[0]
    path = f"M{x:.0f} {row * ROW + HEIGHT + 4}"
    for x_next, row_next in points[1:]:
        top = row_next * ROW + 4
        middle = top - (ROW - HEIGHT) / 2
        path += f"C{x:.0f} {middle:.0f} {x_next:.0f} {middle:.0f} {x_next:.0f} {top - 1}"
        if row_next != points[-1][1]:
            path += f"V{top + HEIGHT}"
        x = x_next
    return f'<path d="{path}" marker-end="url(#packages-arrow)" opacity="0.75"/>'


def _box(package: str, center: float, row: int) -> str:
    top = row * ROW + 4
    return (
        f'<g data-layer="{row + 1}"><rect x="{center - WIDTH / 2:.0f}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="4"/>'
        f'<text x="{center:.0f}" y="{top + HEIGHT / 2 + 5:.0f}" text-anchor="middle" font-size="14" fill="currentColor" '
        f'stroke="none">{package}</text></g>'
    )


def _in_words(layers: Sequence[Sequence[str]], imports: Imports) -> str:
    """The picture for whoever does not see it."""
    rows = "; ".join(" and ".join(layer) for layer in layers)
    count = sum(len(below) for below in imports.values())
    return f"{len(layers)} layers from the top down: {rows}. {count} imports, each from a layer to one below it."
