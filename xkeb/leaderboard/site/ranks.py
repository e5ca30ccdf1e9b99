"""Ranks by `overall` as intervals: the places that a row of a group can have, as far as its cases tell.

A row's interval is that of Mogstad, Romano, Shaikh and Wilhelm (Inference for Ranks, Review of Economic Studies, 2024, section
3): all differences between the row and the others of its group get simultaneous 95% intervals, and the row ranks below those
whose interval says so, and above those likewise. Resampled are subjects, as for the intervals of means, the same for all rows.
Ranks of the resamples themselves would be too sure of themselves where rows tie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xkeb.leaderboard.rows.entries import Cell, Entry
from xkeb.leaderboard.rows.overall import overall_parts
from xkeb.leaderboard.site.samples import Sample
from xkeb.leaderboard.site.ties import sample_id
from xkeb.results.clusters import Floats, Integers
from xkeb.results.spread import BATCH, LEVEL, RESAMPLES, SAME

FEWEST = 10
"""Subjects, below which resamples say too little: then a row may have any rank."""


@dataclass(frozen=True, slots=True)
class RankInterval:
    """The places that a row can have among the rows of its group with cases at hand; 1 is the highest."""

    low: int
    high: int
    of: int

    @property
    def text(self) -> str:
        """As the table shows it."""
        return str(self.low) if self.low == self.high else f"{self.low}–{self.high}"


def rank_intervals(entries: Sequence[Entry], samples: Mapping[str, Mapping[Cell, Sample]]) -> dict[str, RankInterval]:
    """By `sample_id`. A row that lacks cases, or one of the parts of `overall`, has none, and neither has a row alone.

    Args:
        entries: of all groups and slices.
        samples: by `sample_id`.
    """
    groups: dict[tuple[str, str | None], list[Entry]] = {}
    for entry in entries:
        if sample_id(entry) in samples and entry.badge == "reproduced":
            groups.setdefault((entry.group, entry.within), []).append(entry)
    found: dict[str, RankInterval] = {}
    for members in groups.values():
        able = [entry for entry in members if all(_parts(entry, samples[sample_id(entry)]))]
        if len(able) > 1:
            intervals = _intervals(able, [samples[sample_id(entry)] for entry in able])
            found.update(zip(map(sample_id, able), intervals, strict=True))
    return found


def _parts(entry: Entry, sample: Mapping[Cell, Sample]) -> list[list[Cell]]:
    """The parts of `overall`, each the places of the table whose mean it is."""
    return [[cell for cell in cells if cell in sample] for cells in overall_parts(entry)]


def _intervals(entries: Sequence[Entry], samples: Sequence[Mapping[Cell, Sample]]) -> Iterator[RankInterval]:
    subjects = np.unique(np.concatenate([part.clusters for sample in samples for part in sample.values()]))
    count = len(entries)
    if len(subjects) < FEWEST:
        yield from (RankInterval(1, count, count) for _ in entries)
        return
    columns = [_Columns.of(entry, sample, subjects) for entry, sample in zip(entries, samples, strict=True)]
    observed = np.array([column.overall(np.ones((1, len(subjects))))[0] for column in columns])
    drawn = np.concatenate([[column.overall(times) for column in columns] for times in _draws(len(subjects))], axis=1)
    for i in range(count):
        yield _interval(i, observed, drawn)


def _interval(i: int, observed: Floats, drawn: Floats) -> RankInterval:
    """Of one row.

    Args:
        observed: [n]
        drawn: [n, B]
    """
    differences = observed[i] - observed
    resampled = drawn[i] - drawn
    errors = np.nan_to_num(resampled.std(axis=1, ddof=1), nan=np.inf)  # nan: a resample that has no question of a part
    varying = (errors > SAME) & np.isfinite(errors)
    away = np.abs(resampled[varying] - differences[varying, None]) / errors[varying, None]
    bound = float(np.quantile(away.max(axis=0), LEVEL)) if varying.any() else 0.0
    with np.errstate(invalid="ignore"):
        room = np.where(varying, bound * errors, np.where(np.isfinite(errors), SAME, np.inf))
    better, worse = int((differences < -room).sum()), int((differences > room).sum())
    return RankInterval(1 + better, len(observed) - worse, len(observed))


def _draws(count: int) -> Iterator[Floats]:
    """How often each subject is in each of some resamples, [b, G], until there are `RESAMPLES`."""
    generator = np.random.default_rng(0)
    size = max(1, BATCH // count)
    for start in range(0, RESAMPLES, size):
        rows = min(size, RESAMPLES - start)
        draws = generator.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(draws.ravel(), minlength=draws.size).reshape(draws.shape).astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Columns:
    """A row's scores by subject, for the places that `overall` takes."""

    sums: Floats
    """[G, C]"""
    counts: Floats
    """[G, C]"""
    parts: Sequence[Sequence[int]]
    """The columns of each part."""

    @classmethod
    def of(cls, entry: Entry, sample: Mapping[Cell, Sample], subjects: Integers) -> _Columns:
        parts = _parts(entry, sample)
        cells = list(dict.fromkeys(cell for part in parts for cell in part))
        sums, counts = np.zeros((2, len(subjects), len(cells)))
        for k, cell in enumerate(cells):
            places = np.searchsorted(subjects, sample[cell].clusters)
            sums[:, k] = np.bincount(places, weights=sample[cell].values, minlength=len(subjects))
            counts[:, k] = np.bincount(places, minlength=len(subjects))
        return cls(sums, counts, [[cells.index(cell) for cell in part] for part in parts])

    def overall(self, times: Floats) -> Floats:
        """The harmonic mean [b] of the parts, each subject counted so often, [b, G]; nan where a part has no question left."""
        with np.errstate(divide="ignore", invalid="ignore"):
            means = (times @ self.sums) / (times @ self.counts)
            values = np.stack([means[:, part].mean(axis=1) for part in self.parts])
            return np.asarray(len(values) / (1 / values).sum(axis=0))  # 1 / 0 makes it 0, as it should be
