"""What crosses between all languages, as a picture: a row a language of the edits, a column a language that is asked in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from xkeb.leaderboard.site.entries import Entry
from xkeb.results.crossing import ALL
from xkeb.results.schema import CrossingRecord
from xkeb.results.slices import HEADLINE

WIDTH, HEIGHT, LEFT, TOP, MIDDLE = 40, 26, 54, 24, 17
"""Of a cell, and of the labels beside and above, in the picture's own units; and where a text stands in a cell's height."""
LONGEST = 8
"""Letters of a language's code that are shown; codes come from outside."""
ABOVE, BELOW = "#0067a8", "#b84a00"
"""Colours of what is above zero and below it; the more of it, the fuller."""
FULLEST = 0.7
"""How full 100 is: numbers stay legible upon it, in a light page and in a dark one."""
Matrix = Mapping[tuple[str, str], float]
"""By source and target; both in percent."""


@dataclass(frozen=True)
class Label:
    """A text in the picture, by the middle of its foot."""

    x: int
    y: int
    text: str


@dataclass(frozen=True)
class Cell:
    """A value in the picture, by its upper left corner."""

    x: int
    y: int
    value: float

    @property
    def label(self) -> Label:
        return Label(self.x + WIDTH // 2, self.y + MIDDLE, f"{self.value:.0f}")

    @property
    def colour(self) -> str:
        return ABOVE if self.value >= 0 else BELOW

    @property
    def opacity(self) -> float:
        return round(min(1.0, abs(self.value) / 100) * FULLEST, 2)


@dataclass(frozen=True)
class Heatmap:
    """One measure of one method on one model."""

    title: str
    sources: Sequence[str]
    targets: Sequence[str]
    values: Matrix

    @property
    def alt(self) -> str:
        """What is to be seen, in words."""
        least, most = min(self.values, key=self.values.__getitem__), max(self.values, key=self.values.__getitem__)
        return (
            f"{self.title}: a row for each of {len(self.sources)} languages of the edits, a column for each of "
            f"{len(self.targets)} that are asked in. Least is {self.values[least]:.0f} from {' to '.join(least)}, most "
            f"{self.values[most]:.0f} from {' to '.join(most)}."
        )

    @property
    def size(self) -> tuple[int, int]:
        return LEFT + WIDTH * len(self.targets), TOP + HEIGHT * len(self.sources)

    @property
    def labels(self) -> list[Label]:
        """The languages: targets above, sources at the left."""
        above = [Label(LEFT + WIDTH * i + WIDTH // 2, TOP - 8, code[:LONGEST]) for i, code in enumerate(self.targets)]
        beside = [Label(LEFT // 2, TOP + HEIGHT * i + MIDDLE, code[:LONGEST]) for i, code in enumerate(self.sources)]
        return above + beside

    @property
    def cells(self) -> list[Cell]:
        """Those that have a value; a language is no target of its own."""
        return [
            Cell(LEFT + WIDTH * column, TOP + HEIGHT * row, self.values[source, target])
            for row, source in enumerate(self.sources)
            for column, target in enumerate(self.targets)
            if (source, target) in self.values
        ]


def heatmaps(entries: Sequence[Entry]) -> Iterator[Heatmap]:
    """Two for each method, model and data set with results of several targets: what crosses, and what holds in both languages;
    of the cases whose answers differ, where they are told apart."""
    groups: dict[tuple[str, str, str, str, tuple[str, ...]], list[Entry]] = {}
    for entry in entries:
        if entry.badge == "reproduced" and entry.result is not None and entry.result.crossing:
            dataset, languages = entry.result.task.dataset.name, tuple(sorted(entry.languages))
            groups.setdefault((entry.method, entry.model, entry.asked, dataset, languages), []).append(entry)
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
                sources = sorted({source for source, _ in values})
                yield Heatmap(f"{name}, in percent: {of}", sources, sorted({target for _, target in values}), values)


def _crossing(entry: Entry) -> Mapping[str, Mapping[str, Mapping[str, CrossingRecord]]]:
    return (entry.result.crossing if entry.result else None) or {}


def _n_cases(entry: Entry) -> tuple[int, str]:
    return (len(entry.result.case_ids) if entry.result else 0, entry.id)
