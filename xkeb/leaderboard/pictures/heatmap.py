"""What crosses between all languages, as a picture: a row a language of the edits, a column a language that is asked in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xkeb.leaderboard.pictures.chart import Chart, Panel
from xkeb.leaderboard.pictures.svg import Drawing
from xkeb.leaderboard.rows.entries import Entry
from xkeb.leaderboard.rows.matrices import matrices
from xkeb.results.crossing import Matrix

LEFT, TOP, MIDDLE = 54, 24, 4
"""Of the labels beside and above, in the picture's own units; and how far below its middle a line of text stands."""
LARGE, SMALL = (40, 26), (17, 17)
"""Of a cell that shows its number, and of one that doesn't."""
MOST_NUMBERS = 20
"""Languages of a picture that shows numbers; of more, colours and tips say it."""
LONGEST = 8
"""Letters of a language's code that are shown; codes come from outside."""
FULLEST = 0.7
"""How full 100 is: numbers stay legible upon it, in a light page and in a dark one."""
NOTE = (
    "A row for each language of the edits, a column for each that is asked in. Transfer is what generality gains there, in "
    "percent of what it gains in the language of the edits."
)


def heatmap(name: str, title: str, values: Matrix) -> Chart:
    """One measure of one method on one model: blue above zero and orange below it, the more of it the fuller."""
    sources = sorted({source for source, _ in values})
    targets = sorted({target for _, target in values})
    many = max(len(sources), len(targets)) > MOST_NUMBERS
    width, height = SMALL if many else LARGE
    top = TOP + 12 * many
    drawing = Drawing(LEFT + width * len(targets), top + height * len(sources))
    for i, code in enumerate(targets):
        across = LEFT + width * i + width / 2
        if many:
            drawing.turned(across + MIDDLE, top - 6, code[:LONGEST])
        else:
            drawing.text(across, top - 8, code[:LONGEST], "middle")
    for row, source in enumerate(sources):
        drawing.text(LEFT / 2, top + height * (row + 0.5) + MIDDLE, source[:LONGEST], "middle")
        for column, target in enumerate(targets):
            value = values.get((source, target))
            if value is None:  # a language is no target of its own
                continue
            x, y = LEFT + width * column, top + height * row
            full = min(1.0, abs(value) / 100) * FULLEST
            tip = f"{source} to {target}: {value:.1f}"
            drawing.bar(x, y, width - 1, height - 1, "s0" if value >= 0 else "s1", tip, full)
            if not many:
                drawing.text(x + width / 2, y + height / 2 + MIDDLE, f"{value:.0f}", "middle")
    least, most = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    return Chart(
        name,
        title,
        f"{title}: a row for each of {len(sources)} languages of the edits, a column for each of {len(targets)} that are asked "
        f"in. Least is {values[least]:.0f} from {' to '.join(least)}, most {values[most]:.0f} from {' to '.join(most)}.",
        [Panel("", drawing)],
        ["edited in", *targets],
        [
            [source, *("" if (value := values.get((source, target))) is None else f"{value:.1f}" for target in targets)]
            for source in sources
        ],
        note=NOTE,
    )


def heatmaps(entries: Sequence[Entry]) -> Iterator[Chart]:
    """Two for each method, model and data set with results of several targets: what crosses, and what holds in both
    languages."""
    number = 0
    for found in matrices(entries):
        of = f"{found.method} on {found.basis}"
        for name, values in (
            (f"Transfer of {found.metrics[0]}", found.transfer),
            (f"Right in both, {found.metrics[1]}", found.both),
        ):
            if values:
                yield heatmap(f"matrix-{number}", f"{name}, in percent: {of}", values)
                number += 1
