"""Clusters: the cases that belong together, since one subject is behind them all.

Several records of a data set may be about one subject: 637 of Bi-ZsRE's test records have 444. What a model knows of a subject
shows in all of its records, so they bring less than as many independent ones. Intervals and tests therefore take whole clusters
for what varies.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xkeb.results.lines import CaseRecord

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


def cluster_of(case: CaseRecord) -> tuple[str, str]:
    """Language and subject of a case's edit, or nothing and its id where it names no subject: a cluster of its own."""
    subject = case.edit.subject.strip()
    return (case.edit.language, subject) if subject else ("", case.case_id)


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which of N records belong together."""

    codes: Integers
    """[N], the number of each record's cluster, in the order of first appearance."""
    sizes: Floats
    """[G], records of each cluster."""

    @classmethod
    def of(cls, labels: Sequence[Hashable]) -> Clusters:
        """From a label a record: those with equal ones belong together."""
        numbers: dict[Hashable, int] = {}
        codes = np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.intp)
        return cls(codes, np.bincount(codes, minlength=len(numbers)).astype(np.float64))

    def __len__(self) -> int:
        return len(self.sizes)

    def sums(self, values: Floats) -> Floats:
        """The sums [M, G] of values [M, N] over each cluster."""
        return np.array([np.bincount(self.codes, weights=row, minlength=len(self)) for row in values])
