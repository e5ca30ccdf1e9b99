"""The headline score of every question that the results were asked: what their rows are paired by."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

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
class Numbers:
    """Numbers for things, in the order in which they were first seen. Keeps of each thing but its hash."""

    _known: dict[int, int] = field(default_factory=dict)

    def of(self, thing: Hashable) -> int:
        return self._known.setdefault(hash(thing), len(self._known))


@dataclass(slots=True)
class Collector:
    """Gathers a result's scores, case by case: of all, or of those of a slice."""

    questions: Numbers
    subjects: Numbers
    metric: str
    """What the table's marks are about: the result's headline."""
    within: str | None = None
    """The slice."""
    _places: dict[Cell, list[tuple[int, int, float]]] = field(default_factory=dict)

    def add(self, case: CaseRecord) -> None:
        part = case if self.within is None else part_in(case, self.within)
        if part is None:
            return
        subject = self.subjects.of(cluster_of(case))
        for probe in part.probes:
            value = probe.scores.get(self.metric)
            if value is not None and not probe.blank:
                asked = (case.case_id, probe.property, probe.language, probe.prompt, probe.reference)
                place = self._places.setdefault((probe.property, probe.language), [])
                place.append((self.questions.of(asked), subject, value))

    def samples(self) -> dict[Cell, Sample]:
        """By property and language; of a question that was asked twice, the first answer."""
        return {cell: _sample(rows) for cell, rows in self._places.items()}


def _sample(rows: Sequence[tuple[int, int, float]]) -> Sample:
    questions, subjects, values = zip(*rows, strict=True)
    unique, first = np.unique(np.array(questions, dtype=np.intp), return_index=True)
    return Sample(unique, np.array(subjects, dtype=np.intp)[first], np.array(values, dtype=np.float64)[first])


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
