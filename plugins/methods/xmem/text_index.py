"""Which texts look alike: TF-IDF over their characters, compared by cosine."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

LENGTHS = (1, 2, 3)
"""Of the runs of characters that are counted: short ones tell Chinese names apart, longer ones those of an alphabet."""

Vector = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class TextIndex:
    """Some texts, by the runs of characters in them.

    A run r that stands tf times in a text weighs ``tf * (1 + ln((1 + N) / (1 + df)))``, where df of the N texts have it. Each
    text is a unit vector of such weights.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [_runs(text) for text in texts]
        runs: dict[str, int] = {}
        for own in counts:
            for run in own:
                runs.setdefault(run, len(runs))
        self._columns = runs
        holding = np.zeros(len(runs))
        for own in counts:
            for run in own:
                holding[runs[run]] += 1
        self._idf: Vector = 1 + np.log((1 + len(texts)) / (1 + holding))
        rows = [self._weights(own) for own in counts]
        starts = np.cumsum([0, *(len(columns) for columns, _ in rows)])
        columns = np.concatenate([columns for columns, _ in rows]) if rows else np.zeros(0, int)
        weights = np.concatenate([weights for _, weights in rows]) if rows else np.zeros(0)
        self._matrix = csr_matrix((weights, columns, starts), shape=(len(rows), len(runs)))

    def similarities(self, text: str) -> Vector:
        """The cosine of a text with each of the index's: [n], 0 to 1. Runs that no text of the index has don't count."""
        columns, weights = self._weights(_runs(text))
        dense = np.zeros(len(self._columns))
        dense[columns] = weights
        found: Vector = self._matrix @ dense
        return found

    def _weights(self, counts: Counter[str]) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], Vector]:
        """The columns of a text's runs, and the weights there, as a unit vector."""
        here = {self._columns[run]: count for run, count in counts.items() if run in self._columns}
        columns = np.array(list(here), dtype=np.int64)
        weights = np.array(list(here.values()), dtype=np.float64) * self._idf[columns]
        return columns, weights / (np.linalg.norm(weights) or 1.0)


def _runs(text: str) -> Counter[str]:
    """The runs of characters in a text, in whatever case, with a space before and after it."""
    plain = f" {' '.join(unicodedata.normalize('NFKC', text).casefold().split())} "
    return Counter(plain[i : i + n] for n in LENGTHS for i in range(len(plain) - n + 1))
