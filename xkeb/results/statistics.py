"""Means over cases, with their uncertainty."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from scipy.stats import bootstrap

from xkeb.results.schema import CaseRecord, Score, Scores
from xkeb.types import Property

RESAMPLES = 2000
"""Bootstrap resamples of an interval; the generator's seed is fixed, so that a result is a function of its cases."""


def mean_scores(cases: Iterable[CaseRecord], key: Literal["scores", "scores_before"] = "scores") -> Scores:
    """Means over cases, times 100, with standard errors and intervals.

    Args:
        cases: lines of a journal; those that were skipped count nowhere.
        key: which scores of a probe: after the edit, or before it.
    """
    values: dict[tuple[Property, str, str], list[float]] = defaultdict(list)
    for case in cases:
        for probe in case.probes:
            for metric, value in getattr(probe, key).items():
                values[probe.property, probe.language, metric].append(value)
    scores: Scores = {}
    for (name, language, metric), sample in values.items():
        scores.setdefault(name, {}).setdefault(language, {})[metric] = score_of(sample)
    return scores


def score_of(sample: Sequence[float]) -> Score:
    """Mean of values from 0 to 1, times 100, with its standard error and 95% percentile bootstrap interval."""
    mean, stderr, ci95 = spread_of(sample)
    return Score(mean=mean, stderr=stderr, ci95=ci95, n=len(sample))


def spread_of(sample: Sequence[float]) -> tuple[float, float, tuple[float, float]]:
    """The same of any numbers, such as differences: mean, standard error and interval, times 100."""
    values = np.asarray(sample, dtype=np.float64) * 100
    mean = float(values.mean())
    if len(values) < 2 or np.ptp(values) == 0:
        return mean, 0.0, (mean, mean)
    interval = bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0), batch=100
    ).confidence_interval
    stderr = float(values.std(ddof=1) / np.sqrt(len(values)))
    return mean, stderr, (float(interval.low), float(interval.high))
