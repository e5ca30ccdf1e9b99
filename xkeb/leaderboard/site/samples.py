"""The headline score of every question that the results were asked: what their rows are paired by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from xkeb.leaderboard.rows.entries import Cell
from xkeb.results.clusters import Floats, Integers, cluster_of
from xkeb.results.lines import CaseRecord
from xkeb.results.slices import part_in


@dataclass(frozen=True, slots=True)
class Sample:
    """A result's scores in one place of the table."""

    questions: Integers
    """[N], ascending: equal numbers stand for the same case, asked the same."""
    clusters: Integers
    """[N], of the same subjects."""
    values: Floats
    """[N], from 0 to 1."""


@dataclass(slots=True)
class Keys:
    """A key of 64 bits for each thing: the same in every process, and another for another thing."""

    _known: dict[int, int] = field(default_factory=dict)
    """By this process's own hash, which is found sooner. Results of one task are asked the same."""

    def of(self, thing: tuple[str, ...]) -> int:
        own = hash(thing)
        key = self._known.get(own)
        if key is None:
            key = int.from_bytes(blake2b(repr(thing).encode(), digest_size=8).digest())
            self._known[own] = key
        return key


@dataclass(frozen=True, slots=True)
class Gathered:
    """A result's scores of N questions in C cases, as one process hands them to another."""

    cells: Sequence[Cell]
    """The places of the table, in the order in which they were first seen."""
    subjects: NDArray[np.uint64]
    """[C], keys."""
    questions: NDArray[np.uint64]
    """[N], keys."""
    cases: Integers
    """[N], which case each is of."""
    places: Integers
    """[N], which of `cells` each is of."""
    values: Floats
    """[N]"""
    parts: Mapping[str, Integers]
    """Slice -> which of the N are in it."""


@dataclass(slots=True)
class Collector:
    """Gathers a result's scores, case by case."""

    keys: Keys
    metric: str
    """What the table's marks are about: the result's headline."""
    within: Sequence[str] = ()
    """Slices that are told of, too."""
    _subjects: list[int] = field(default_factory=list)
    _cells: dict[Cell, int] = field(default_factory=dict)
    _rows: list[tuple[int, int, int, float]] = field(default_factory=list)
    """Question, case, place, value."""
    _parts: dict[str, list[int]] = field(default_factory=dict)

    def add(self, case: CaseRecord) -> None:
        number, before = len(self._subjects), len(self._rows)
        self._subjects.append(self.keys.of(cluster_of(case)))
        metric, key_of, cells, rows, id_ = self.metric, self.keys.of, self._cells, self._rows, case.case_id
        asked = []
        for probe in case.probes:
            value = probe.scores.get(metric)
            if value is not None and not probe.blank:
                cell = (probe.property, probe.language)
                key = key_of((id_, probe.property, probe.language, probe.prompt, probe.reference))
                rows.append((key, number, cells.setdefault(cell, len(cells)), value))
                asked.append(probe)
        for name in self.within:
            part = part_in(case, name)
            if part is not None:
                inside = {id(probe) for probe in part.probes}
                found = (before + i for i, probe in enumerate(asked) if id(probe) in inside)
                self._parts.setdefault(name, []).extend(found)

    @property
    def gathered(self) -> Gathered:
        """All of it."""
        questions, cases, places, values = zip(*self._rows, strict=True) if self._rows else ((), (), (), ())
        return Gathered(
            list(self._cells),
            np.array(self._subjects, dtype=np.uint64),
            np.array(questions, dtype=np.uint64),
            np.array(cases, dtype=np.intp),
            np.array(places, dtype=np.intp),
            np.array(values, dtype=np.float64),
            {name: np.array(rows, dtype=np.intp) for name, rows in self._parts.items()},
        )


@dataclass(slots=True)
class Numbers:
    """Numbers for keys, in the order in which they were first seen."""

    _known: dict[int, int] = field(default_factory=dict)

    def of(self, keys: NDArray[np.uint64]) -> Integers:
        """[N] of keys [N]."""
        known = self._known
        return np.array([known.setdefault(key, len(known)) for key in keys.tolist()], dtype=np.intp)


@dataclass(slots=True)
class Numbering:
    """What the results have in common: equal numbers for equal questions and subjects. The order in which results are taken
    is that of the numbers, and with them of all sums over subjects."""

    _questions: Numbers = field(default_factory=Numbers)
    _subjects: Numbers = field(default_factory=Numbers)

    def samples(self, gathered: Gathered) -> dict[str | None, dict[Cell, Sample]]:
        """By slice, None for all cases; by property and language; of a question that was asked twice, the first answer."""
        subjects = self._subjects.of(gathered.subjects)[gathered.cases]
        whole = Sample(self._questions.of(gathered.questions), subjects, gathered.values)
        found: dict[str | None, dict[Cell, Sample]] = {None: _by_cell(gathered, whole, np.arange(len(whole.values)))}
        for name, rows in gathered.parts.items():
            found[name] = _by_cell(gathered, whole, rows)
        return found


def _by_cell(gathered: Gathered, whole: Sample, rows: Integers) -> dict[Cell, Sample]:
    """The samples of some of a result's answers."""
    places = gathered.places[rows]
    found = {}
    for place in dict.fromkeys(places.tolist()):
        inside = rows[places == place]
        unique, first = np.unique(whole.questions[inside], return_index=True)
        found[gathered.cells[place]] = Sample(unique, whole.clusters[inside][first], whole.values[inside][first])
    return found


def paired_sums(a: Sample, b: Sample) -> Floats | None:
    """The differences A - B over the questions that both were asked, summed by A's subjects; None where they share none."""
    if np.array_equal(a.questions, b.questions):
        subjects, differences = a.clusters, a.values - b.values
    else:
        shared, here, there = np.intersect1d(a.questions, b.questions, assume_unique=True, return_indices=True)
        if not len(shared):
            return None
        subjects, differences = a.clusters[here], a.values[here] - b.values[there]
    _, codes = np.unique(subjects, return_inverse=True)
    return np.bincount(codes, weights=differences).astype(np.float64, copy=False)
