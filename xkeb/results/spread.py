"""Means with standard errors and intervals, where whole clusters of records are what varies."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy  # scipy.stats takes half a second, and is imported where it is first used

from xkeb.results.clusters import Clusters, Floats, Integers

RESAMPLES = 2000
"""Bootstrap resamples of an interval; the generator's seed is fixed, so that a result is a function of its cases."""
LEVEL = 0.95
"""Of the intervals."""
SAME = 1e-9
"""Numbers from 0 to 1 that differ by less are the same: what differs is the rounding."""
BATCH = 400_000
"""Indices that are drawn at once: a bound of memory, without influence on what is drawn."""

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over records, in the unit of the records."""

    mean: float
    stderr: float
    """Cluster-robust: see `standard_errors`. 0 where all clusters agree, or there is but one."""
    ci95: tuple[float, float]
    n: int
    n_clusters: int


@dataclass(slots=True)
class Sample:
    """Values, and the label of the cluster that each belongs to."""

    values: list[float]
    labels: list[Hashable]

    @classmethod
    def independent(cls, values: Sequence[float]) -> Sample:
        """Each value is a cluster of its own."""
        return cls(list(values), list(range(len(values))))


def spreads_of(samples: Mapping[K, Sample], low: float = 0.0, high: float = 1.0) -> dict[K, Spread]:
    """The spread of each sample. Samples of the same records are resampled together, which gives the same and is faster.

    Args:
        low, high: bounds of whatever a value can be.
    """
    alike: dict[tuple[Hashable, ...], list[K]] = {}
    for key, sample in samples.items():
        alike.setdefault(tuple(sample.labels), []).append(key)
    found: dict[K, Spread] = {}
    for labels, keys in alike.items():
        values = np.array([samples[key].values for key in keys], dtype=np.float64)
        found.update(zip(keys, spreads(values, labels, low, high), strict=True))
    return {key: found[key] for key in samples}


def spreads(values: Floats, labels: Sequence[Hashable], low: float = 0.0, high: float = 1.0) -> list[Spread]:
    """The spread of each row of values [M, N], N at least 1.

    Args:
        values: between `low` and `high`.
        labels: N of them, equal for records of one cluster.
    """
    clusters = Clusters.of(labels)
    sums, n = clusters.sums(values), values.shape[1]
    means = sums.sum(axis=1) / n
    residuals = sums - means[:, None] * clusters.sizes
    agree = (np.abs(residuals) <= SAME * clusters.sizes).all(axis=1)
    errors = np.where(agree, 0.0, standard_errors(residuals, n))
    intervals = np.empty((len(values), 2))
    if not agree.all():
        intervals[~agree] = bootstrap_intervals(sums[~agree], clusters.sizes)
    for row in np.flatnonzero(agree):
        intervals[row] = agreement_interval(means[row], len(clusters), low, high)
    return [
        Spread(float(mean), float(error), (float(start), float(end)), n, len(clusters))
        for mean, error, (start, end) in zip(means, errors, intervals, strict=True)
    ]


def standard_errors(residuals: Floats, n: int) -> Floats:
    r"""Cluster-robust standard errors [M] of means, from the clusters' residuals [M, G].

    The mean is a ratio of two sums over clusters, \(\sum_g s_g / \sum_g n_g\). Linearised, its variance is
    \(\frac{G}{G-1} \sum_g (s_g - m n_g)^2 / N^2\) (Cochran, Sampling Techniques, 1977, section 9A). Where each cluster has one
    record this is the variance with ddof 1, over N. 0 for one cluster, where nothing can be said.
    """
    count = residuals.shape[1]
    scale = count / (count - 1) if count > 1 else 0.0
    return np.asarray(np.sqrt(scale * (residuals**2).sum(axis=1)) / n)


def bootstrap_intervals(sums: Floats, sizes: Floats) -> Floats:
    """Cluster bootstrap, percentiles: intervals [M, 2] from the clusters' sums [M, G] and sizes [G], G at least 2.

    A resample has G clusters, drawn with replacement; its mean is the sum of their values over the number of their records
    (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
    """
    count = len(sizes)

    def means(drawn: Integers, axis: int) -> Floats:
        draws = np.asarray(drawn, dtype=np.intp).reshape(-1, count)
        offsets = count * np.arange(len(draws))[:, None]
        times = np.bincount((draws + offsets).ravel(), minlength=draws.size).reshape(draws.shape)
        return np.asarray((sums @ times.T) / (sizes @ times.T))

    interval = scipy.stats.bootstrap(
        (np.arange(count),), means, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile", vectorized=True,
        batch=max(1, BATCH // count), rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return np.stack([interval.low, interval.high], axis=-1)


def ratio_interval(top: Floats, bottom: Floats) -> tuple[float, float] | None:
    """Cluster bootstrap, percentiles, of the ratio of two sums over the same clusters, both [G].

    None where no resample differs from another, or where one has a bottom that isn't above 0: then the ratio may be anything.
    """
    count = len(top)
    generator = np.random.default_rng(0)
    sums: list[Floats] = []
    for start in range(0, RESAMPLES, size := max(1, BATCH // count)):
        draws = generator.integers(0, count, (min(size, RESAMPLES - start), count))
        sums.append(np.stack([top[draws].sum(axis=1), bottom[draws].sum(axis=1)]))
    tops, bottoms = np.concatenate(sums, axis=1)
    if bottoms.min() <= SAME:
        return None
    ratios = tops / bottoms
    tail = 50 * (1 - LEVEL)
    low, high = (float(value) for value in np.percentile(ratios, (tail, 100 - tail)))
    return (low, high) if high - low > SAME else None


def agreement_interval(mean: float, n_clusters: int, low: float, high: float) -> tuple[float, float]:
    """Where all clusters have one mean, which no resample can leave: Clopper and Pearson's bound on clusters of another.

    Of G clusters none differed, so at most a share u of all clusters does: Clopper and Pearson's upper limit for 0 of G,
    1 - 0.025 ** (1 / G). Whatever stands in those lies between `low` and `high`, so the mean lies between
    mean - u (mean - low) and mean + u (high - mean). Where the mean is 0 or 1 this is Clopper and Pearson's interval itself.
    G counts clusters, not records: records about one subject agree with each other, so the bound is the wider one.
    """
    share = float(scipy.stats.binomtest(0, n_clusters).proportion_ci(LEVEL, method="exact").high)
    return mean - share * (mean - low), mean + share * (high - mean)
