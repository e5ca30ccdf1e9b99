"""Tests of paired differences, whose unit is the cluster: sign flips, Holm's adjustment, McNemar's test, and power."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # scipy.stats takes half a second, and is imported where it is first used

from xkeb.results.clusters import Floats
from xkeb.results.spread import SAME

DRAWS = 9999
"""Random sign flips of a permutation test. Up to 13 clusters that differ have fewer, and all of them are tried."""
SIGNIFICANCE, POWER = 0.05, 0.8
"""Of the two-sided test whose power is worked out."""
TESTS, BLOCK = 256, 256
"""Tests that share a draw of signs, and clusters whose signs are drawn at once: bounds of memory."""


@dataclass(frozen=True, slots=True)
class PValue:
    value: float
    exact: bool
    """Whether all sign flips were tried."""


def flip_p_values(samples: Sequence[Floats]) -> list[PValue]:
    """Two-sided p-values of the hypothesis that each cluster's difference might as well have the other sign.

    A flip turns the sign of a cluster's summed difference, so records of a cluster are flipped together. Clusters whose sum
    is 0 are left out: flipping them changes nothing. The p-value is

    - of up to 13 clusters, the share of all flips whose total is at least as far from 0;
    - of more, (1 + k) / (1 + 9,999), where k of 9,999 random flips are (Phipson and Smyth, 2010);
    - Hoeffding's bound 2 exp(-t² / (2 Σ d²)) of the exact one, t the total and d the clusters' differences, where that
      lies below what 9,999 flips can tell (Hoeffding, 1963, theorem 2).

    Args:
        samples: of each test, the summed differences [G] of the clusters. The generator is fixed, so each p-value is a
            function of its own sample.
    """
    differing = [sample[np.abs(sample) > SAME] for sample in samples]
    found: list[PValue] = [PValue(1.0, exact=True)] * len(samples)
    drawn = []
    for i, sums in enumerate(differing):
        if 2 ** min(len(sums), 64) <= DRAWS:
            found[i] = PValue(_exact(sums), exact=True)
        elif (bound := 2 * math.exp(-(sums.sum() ** 2) / (2 * (sums**2).sum()))) < 1 / (1 + DRAWS):
            found[i] = PValue(bound, exact=False)
        else:
            drawn.append(i)
    for start in range(0, len(drawn), TESTS):
        chosen = drawn[start : start + TESTS]
        for i, value in zip(chosen, _random([differing[i] for i in chosen]), strict=True):
            found[i] = PValue(value, exact=False)
    return found


def _exact(sums: Floats) -> float:
    count = len(sums)
    signs = 1.0 - 2.0 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
    return float((np.abs(signs @ sums) >= abs(sums.sum()) - _slack(sums)).mean())


def _random(samples: Sequence[Floats]) -> list[float]:
    """Signs are drawn cluster by cluster, so that a sample meets the same whatever stands beside it."""
    width = max(map(len, samples))
    padded = np.zeros((len(samples), -(-width // BLOCK) * BLOCK))
    for row, sums in zip(padded, samples, strict=True):
        row[: len(sums)] = sums
    totals = np.zeros((len(samples), DRAWS))
    generator = np.random.default_rng(0)
    for start in range(0, padded.shape[1], BLOCK):
        signs = generator.integers(0, 2, (BLOCK, DRAWS), dtype=np.int8) * 2.0 - 1.0
        totals += padded[:, start : start + BLOCK] @ signs
    observed = np.array([abs(sums.sum()) - _slack(sums) for sums in samples])
    return [float(value) for value in (1 + (np.abs(totals) >= observed[:, None]).sum(axis=1)) / (1 + DRAWS)]


def _slack(sums: Floats) -> float:
    """Totals that differ by less are as far: the sums of the same numbers in another order."""
    return SAME * len(sums)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: with those below 0.05 rejected, the chance of any false rejection is at most 0.05.

    The i-th smallest of m, from 0 on, is multiplied by m - i; none is smaller than one before it, or larger than 1 (Holm,
    1979).
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def mcnemar(wins: int, losses: int) -> float:
    """McNemar's exact test, two-sided: a record that only one of two gets right is as likely the one's as the other's.

    It takes each record for itself, whatever its subject.
    """
    return float(scipy.stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


@dataclass(frozen=True, slots=True)
class Power:
    """How many records would show a difference of so many points. None where nothing varied, so that nothing is known."""

    points: float
    deviation: float
    """Of a record's difference, times 100, with the effect of the clusters: the cluster-robust standard error times √N."""
    design_effect: float | None
    """Its square, over that of records that are all independent."""
    records: int | None


def power_of(differences: Floats, stderr: float, points: float) -> Power:
    """The records that a two-sided test at 5% needs to show a difference with a chance of 80%.

    n = (z(0.975) + z(0.8))² s² / points², s the deviation times 100. The records are taken to share subjects as those at hand.

    Args:
        differences: [N], between -1 and 1.
        stderr: cluster-robust standard error of their mean, in the same unit.
        points: the difference, times 100; above 0.
    """
    count = len(differences)
    deviation = 100 * stderr * math.sqrt(count)
    if not stderr:
        return Power(points, deviation, None, None)
    quantiles = scipy.stats.norm.ppf(1 - SIGNIFICANCE / 2) + scipy.stats.norm.ppf(POWER)
    effect = (deviation / (100 * float(differences.std(ddof=1)))) ** 2
    return Power(points, deviation, effect, math.ceil((quantiles * deviation / points) ** 2))
