"""What crosses between all languages, as a picture: a row a language of the edits, a column a language that is asked in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from xkeb.leaderboard.pictures.chart import Chart, Panel
from xkeb.leaderboard.pictures.svg import Drawing
from xkeb.leaderboard.rows.entries import Entry
from xkeb.results.crossing import ALL
from xkeb.results.scores import CrossingRecord
from xkeb.results.slices import HEADLINE

WIDTH, HEIGHT, LEFT, TOP, MIDDLE = 40, 26, 54, 24, 17
"""Of a cell, and of the labels beside and above, in the picture's own units; and where a text stands in a cell's height."""
LONGEST = 8
"""Letters of a language's code that are shown; codes come from outside."""
FULLEST = 0.7
"""How full 100 is: numbers stay legible upon it, in a light page and in a dark one."""
NOTE = (
    "A row for each language of the edits, a column for each that is asked in. Transfer is what generality gains there, in "
    "percent of what it gains in the language of the edits."
)
Matrix = Mapping[tuple[str, str], float]
"""By source and target; both in percent."""


def heatmap(name: str, title: str, values: Matrix) -> Chart:
    """One measure of one method on one model: blue above zero and orange below it, the more of it the fuller."""
    sources = sorted({source for source, _ in values})
    targets = sorted({target for _, target in values})
    drawing = Drawing(LEFT + WIDTH * len(targets), TOP + HEIGHT * len(sources))
    for i, code in enumerate(targets):
        drawing.text(LEFT + WIDTH * i + WIDTH / 2, TOP - 8, code[:LONGEST], "middle")
    for row, source in enumerate(sources):
        drawing.text(LEFT / 2, TOP + HEIGHT * row + MIDDLE, source[:LONGEST], "middle")
        for column, target in enumerate(targets):
            value = values.get((source, target))
            if value is None:  # a language is no target of its own
                continue
            x, y = LEFT + WIDTH * column, TOP + HEIGHT * row
            full = min(1.0, abs(value) / 100) * FULLEST
            tip = f"{source} to {target}: {value:.1f}"
            drawing.bar(x, y, WIDTH - 1, HEIGHT - 1, "s0" if value >= 0 else "s1", tip, full)
            drawing.text(x + WIDTH / 2, y + MIDDLE, f"{value:.0f}", "middle")
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
    """Two for each method, model and data set with results of several targets: what crosses, and what holds in both languages;
    of the cases whose answers differ, where they are told apart."""
    groups: dict[tuple[str, str, str, str, tuple[str, ...]], list[Entry]] = {}
    for entry in entries:
        if entry.badge == "reproduced" and entry.result is not None and entry.result.crossing:
            dataset, languages = entry.result.task.dataset.name, tuple(sorted(entry.languages))
            groups.setdefault((entry.method, entry.model, entry.asked, dataset, languages), []).append(entry)
    number = 0
    for (method, model, asked, dataset, _), members in sorted(groups.items()):
        part = HEADLINE if all(HEADLINE in _crossing(entry) for entry in members) else ALL
        of = f"{method} on {model}, {dataset}, {asked.replace('_', ' ')}{'' if part == ALL else ', answers differ'}"
        transfer: dict[tuple[str, str], float] = {}
        both: dict[tuple[str, str], float] = {}
        for entry in sorted(members, key=_n_cases):  # of two that are of one source, the one with more cases
            for target, records in _crossing(entry).get(part, {}).items():
                first, *others = records.values()
                if first.transfer is not None:
                    transfer[entry.source, target] = first.transfer
                both[entry.source, target] = (others[0] if others else first).both.mean
        metrics = list(next(iter(next(iter(_crossing(members[0]).values())).values())))
        for name, values in ((f"Transfer of {metrics[0]}", transfer), (f"Right in both, {metrics[-1]}", both)):
            if values:
                yield heatmap(f"matrix-{number}", f"{name}, in percent: {of}", values)
                number += 1


def _crossing(entry: Entry) -> Mapping[str, Mapping[str, Mapping[str, CrossingRecord]]]:
    return (entry.result.crossing if entry.result else None) or {}


def _n_cases(entry: Entry) -> tuple[int, str]:
    return (len(entry.result.case_ids) if entry.result else 0, entry.id)
