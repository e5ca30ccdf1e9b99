"""Which rows of a column can't be told from its best: paired permutation tests over subjects, on the cases that both ran."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from xkeb.leaderboard.rows.entries import Cell, Entry
from xkeb.leaderboard.site.samples import Sample, paired_sums
from xkeb.results.clusters import Floats
from xkeb.results.paired import SIGNIFICANCE, flip_p_values, holm

VIEWS: tuple[tuple[str, ...], ...] = ((), ("source",), ("model",), ("source", "model"))
"""Fields of an entry by which a reader filters a table; each value of each has a best row of its own."""
Pair = tuple[str, str, Cell]
"""Ids of a best row and of another, and where they are compared."""


@dataclass(frozen=True)
class PairedTests:
    """P-values of pairs of rows, each worked out once, however many tables show both."""

    samples: Mapping[str, Mapping[Cell, Sample]] = field(default_factory=dict)
    """By `sample_id`. An entry whose cases aren't at hand has none."""
    _known: dict[Pair, float | None] = field(default_factory=dict)

    def p_values(self, pairs: Iterable[Pair]) -> dict[Pair, float | None]:
        """None where the two share no case that is at hand."""
        wanted = list(dict.fromkeys(pairs))
        sums = {pair: self._sums(pair) for pair in wanted if pair not in self._known}
        self._known.update(dict.fromkeys(sums))
        tested = {pair: found for pair, found in sums.items() if found is not None}
        for pair, p in zip(tested, flip_p_values(list(tested.values())), strict=True):
            self._known[pair] = p.value
        return {pair: self._known[pair] for pair in wanted}

    def _sums(self, pair: Pair) -> Floats | None:
        best, other, cell = pair
        a, b = (self.samples.get(name, {}).get(cell) for name in (best, other))
        return None if a is None or b is None else paired_sums(a, b)


def ties(entries: Sequence[Entry], column: Cell, tests: PairedTests) -> list[tuple[int, ...]]:
    """For each row of a column, the best rows that it can't be told from, by their places.

    A best row is that of all rows, of those of a source, of a model, or of both, with or without the published ones. Those
    compared with one best row are a family for Holm's adjustment.

    Args:
        entries: the rows of one comparable group.
        column: with ``""`` for a language, that of each row's edit.
    """
    found: list[list[int]] = [[] for _ in entries]
    p_values = tests.p_values(compared(entries, [column]))
    for best, others in _families(entries, column).items():
        pairs = {other: _pair(entries[best], entries[other], column) for other in others}
        known = {other: p for other, pair in pairs.items() if (p := p_values[pair]) is not None}
        for other, adjusted in zip(known, holm(list(known.values())), strict=True):
            if adjusted >= SIGNIFICANCE:
                found[other].append(best)
    return [tuple(sorted(bests)) for bests in found]


def compared(entries: Sequence[Entry], columns: Iterable[Cell]) -> list[Pair]:
    """All pairs that `ties` asks for in some columns. Tests that are asked for together share their random signs."""
    return [
        _pair(entries[best], entries[other], column)
        for column in columns
        for best, others in _families(entries, column).items()
        for other in others
    ]


def _pair(best: Entry, other: Entry, column: Cell) -> Pair:
    return sample_id(best), sample_id(other), place_of(best, column)


def sample_id(entry: Entry) -> str:
    """What a row's scores are kept under: those of a slice apart from those of all cases."""
    return entry.id if entry.within is None else f"{entry.id}/{entry.within}"


def place_of(entry: Entry, column: Cell) -> Cell:
    """Property and language of a column, in a row."""
    return column if column[1] else (column[0], entry.source)


def shown_mean(entry: Entry, column: Cell) -> float | None:
    """F1 as the page holds it, so that its script finds the same best row."""
    mean = entry.mean(place_of(entry, column))
    return None if mean is None else round(mean, 4)


def _families(entries: Sequence[Entry], column: Cell) -> dict[int, list[int]]:
    """Each best row with those that it is the best of, in their order."""
    families: dict[int, set[int]] = {}
    means = [shown_mean(entry, column) for entry in entries]
    for members in _views(entries):
        measured = [(mean, i) for i in members if (mean := means[i]) is not None]
        if measured:
            _, best = max(measured, key=lambda pair: pair[0])  # the first of equal ones
            families.setdefault(best, set()).update(i for _, i in measured if i != best)
    return {best: sorted(others) for best, others in families.items()}


def _views(entries: Sequence[Entry]) -> Iterator[list[int]]:
    """The rows that are shown under each filter."""
    for fields in VIEWS:
        for badges in (("published", "reproduced"), ("reproduced",)):
            groups: dict[tuple[str, ...], list[int]] = {}
            for i, entry in enumerate(entries):
                if entry.badge in badges:
                    groups.setdefault(tuple(getattr(entry, name) for name in fields), []).append(i)
            yield from groups.values()
