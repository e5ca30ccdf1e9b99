"""The rows of a comparison: each property, language and metric, its mean difference, and whether it is chance."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from xkeb.results.clusters import Clusters, Floats
from xkeb.results.paired import DRAWS, Power, PValue, flip_p_values, holm, mcnemar, power_of
from xkeb.results.spread import RESAMPLES, SAME, Sample, Spread, spreads_of

UNIT = "subjects (all records of one together)"
"""What is resampled, flipped and counted."""
INTERVAL = (
    f"95% percentile bootstrap of the mean of the paired differences, {RESAMPLES:,} resamples of {UNIT}; where all of them "
    "agree, Clopper and Pearson's bound"
)
TEST = (
    f"two-sided paired permutation test of the mean difference, sign flips of {UNIT}: all flips, or {DRAWS:,} at random, or "
    "Hoeffding's bound where it is below what those can show"
)
ADJUSTMENT = "Holm's adjustment of p for all rows"
MCNEMAR = "McNemar's exact test for em, which takes each record for itself"

Place = tuple[str, str, str]
"""Property, language and metric."""


@dataclass(slots=True)
class Paired:
    """The scores of A and B, from 0 to 1, pair by pair, and the label of each pair's cluster."""

    a: list[float] = field(default_factory=list)
    b: list[float] = field(default_factory=list)
    labels: list[Hashable] = field(default_factory=list)

    @property
    def differences(self) -> Floats:
        """B - A, [N]; 0 where only the rounding differs."""
        values = np.asarray(self.b, dtype=np.float64) - np.asarray(self.a, dtype=np.float64)
        return np.where(np.abs(values) > SAME, values, 0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One property, language and metric. Scores and differences are times 100."""

    property: str
    language: str
    metric: str
    pairs: int
    clusters: int
    """Subjects of the pairs."""
    a: float
    b: float
    difference: float
    """B - A."""
    ci95: tuple[float, float]
    p: float
    exact: bool
    """Whether all sign flips were tried."""
    p_holm: float
    """`p`, adjusted for all rows."""
    mcnemar: float | None
    """P-value of McNemar's exact test, for `em`."""
    wins: int
    """Pairs in which B scores higher."""
    ties: int
    losses: int
    power: Power | None = None
    """Where it was asked for."""


def make_rows(samples: Sequence[tuple[Place, Paired]], points: float | None = None) -> list[Row]:
    """A row for each sample, in their order.

    Args:
        points: work out how many records would show a difference of so many.
    """
    differences = [sample.differences for _, sample in samples]
    spreads = spreads_of(
        {i: Sample(differences[i].tolist(), sample.labels) for i, (_, sample) in enumerate(samples)}, low=-1.0
    )
    sums = [
        Clusters.of(sample.labels).sums(values[None])[0]
        for (_, sample), values in zip(samples, differences, strict=True)
    ]
    tests = flip_p_values(sums)
    adjusted = holm([test.value for test in tests])
    return [
        _row(place, sample, differences[i], spreads[i], tests[i], adjusted[i], points)
        for i, (place, sample) in enumerate(samples)
    ]


def _row(
    place: Place, sample: Paired, differences: Floats, spread: Spread, test: PValue, p_holm: float, points: float | None
) -> Row:
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    a, b = (100 * float(np.mean(values)) for values in (sample.a, sample.b))
    low, high = spread.ci95
    return Row(
        *place,
        pairs=spread.n,
        clusters=spread.n_clusters,
        a=a,
        b=b,
        difference=100 * spread.mean,
        ci95=(100 * low, 100 * high),
        p=test.value,
        exact=test.exact,
        p_holm=p_holm,
        mcnemar=mcnemar(wins, losses) if place[2] == "em" else None,
        wins=wins,
        ties=spread.n - wins - losses,
        losses=losses,
        power=None if points is None else power_of(differences, spread.stderr, points),
    )
