"""What crosses between languages, as a picture: a row a language of the edits, or a method; a column a language that is asked
in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xkeb.leaderboard.pictures.chart import Chart, Panel
from xkeb.leaderboard.pictures.svg import Drawing
from xkeb.leaderboard.rows.entries import Entry
from xkeb.leaderboard.rows.matrices import CrossingMatrix, matrices
from xkeb.results.crossing import Matrix

LEFT, TOP, MIDDLE = 54, 24, 4
"""Of the labels beside and above, in the picture's own units; and how far below its middle a line of text stands."""
TITLE = 18
"""For what rows and columns are, before the labels."""
LARGE, SMALL = (40, 26), (17, 17)
"""Of a cell that shows its number, and of one that doesn't."""
MOST_NUMBERS = 20
"""Languages of a picture that shows numbers; of more, colours and tips say it."""
LONGEST, LETTER = 16, 6.6
"""Letters of a label that are shown, since names come from outside; and about how wide one is."""
FULLEST = 0.7
"""How full 100 is: numbers stay legible upon it, in a light page and in a dark one."""
ROW = "edited in"
"""What a row is, where it is no method."""
TRANSFER = "Transfer is what generality gains there, in percent of what it gains in the language of the edits."


def heatmap(name: str, title: str, values: Matrix, of: str = "edited in") -> Chart:
    """One measure of one method on one model, or of several methods: blue above zero and orange below it, the more of it the
    fuller.

    Args:
        values: by row and column.
        of: what a row is.
    """
    sources = sorted({source for source, _ in values})
    targets = sorted({target for _, target in values})
    many = len(targets) > MOST_NUMBERS
    width, height = SMALL if many else LARGE
    labels = max(LEFT, LETTER * max(len(source[:LONGEST]) for source in sources) + 14)
    left, top = TITLE + labels, TITLE + TOP + 12 * many
    drawing = Drawing(left + width * len(targets), top + height * len(sources))
    drawing.text(left + width * len(targets) / 2, TITLE - 6, "asked in", "middle", "quiet")
    drawing.turned(TITLE - 5, top + height * len(sources) / 2, of, "middle", "quiet")
    for i, code in enumerate(targets):
        across = left + width * i + width / 2
        if many:
            drawing.turned(across + MIDDLE, top - 6, code[:LONGEST])
        else:
            drawing.text(across, top - 8, code[:LONGEST], "middle")
    for row, source in enumerate(sources):
        drawing.text(TITLE + labels / 2, top + height * (row + 0.5) + MIDDLE, source[:LONGEST], "middle")
        for column, target in enumerate(targets):
            value = values.get((source, target))
            if value is None:  # a language is no target of its own
                continue
            x, y = left + width * column, top + height * row
            full = min(1.0, abs(value) / 100) * FULLEST
            drawing.bar(
                x, y, width - 1, height - 1, "s0" if value >= 0 else "s1", f"{source}, {target}: {value:.1f}", full
            )
            if not many:
                drawing.text(x + width / 2, y + height / 2 + MIDDLE, f"{value:.0f}", "middle")
    least, most = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    rows = f"{len(sources)} {'languages of the edits' if of == ROW else 'methods'}"
    return Chart(
        name,
        title,
        f"{title}: a row for each of {rows}, a column for each of {len(targets)} languages that are asked in. Least is "
        f"{values[least]:.0f}, {' to '.join(least)}, most {values[most]:.0f}, {' to '.join(most)}.",
        [Panel("", drawing)],
        [of, *targets],
        [
            [source, *("" if (value := values.get((source, target))) is None else f"{value:.1f}" for target in targets)]
            for source in sources
        ],
        note=f"A row for each {'language of the edits' if of == ROW else 'method'}, a column for each language that is asked "
        f"in. {TRANSFER}",
    )


def heatmaps(entries: Sequence[Entry]) -> Iterator[Chart]:
    """What crosses, and what holds in both languages: of edits in several languages, two for each method; of edits in one, two
    for all methods that were asked the same, a row a method."""
    of_one: dict[tuple[str, frozenset[str]], list[CrossingMatrix]] = {}
    drawn: list[tuple[str, Matrix, str]] = []  # title, values, what a row is
    for found in matrices(entries):
        if len({source for source, _ in found.both}) == 1:
            of_one.setdefault((found.model, found.groups), []).append(found)
        else:
            transfer, both = _titles(found, f"{found.method} on {found.basis}")
            drawn += [(transfer, found.transfer, ROW), (both, found.both, ROW)]
    for members in of_one.values():
        transfer, both = _titles(members[0], f"edits in {next(iter(members[0].both))[0]}, {members[0].basis}")
        drawn += [
            (
                transfer,
                {(one.method, code): value for one in members for (_, code), value in one.transfer.items()},
                "method",
            ),
            (both, {(one.method, code): value for one in members for (_, code), value in one.both.items()}, "method"),
        ]
    for number, (title, values, row) in enumerate(one for one in drawn if one[1]):
        yield heatmap(f"matrix-{number}", title, values, row)


def _titles(found: CrossingMatrix, of: str) -> tuple[str, str]:
    transfer, both = found.metrics
    return f"Transfer of {transfer}, in percent: {of}", f"Right in both, {both}, in percent: {of}"
