"""Scores: means over cases, with their uncertainty over the subjects of the cases."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Literal

from xkeb.results.clusters import cluster_of
from xkeb.results.schema import CaseRecord, Score, Scores
from xkeb.results.spread import Sample, Spread, spreads_of
from xkeb.types import Property


def mean_scores(cases: Iterable[CaseRecord], key: Literal["scores", "scores_before"] = "scores") -> Scores:
    """Means over cases, times 100, with standard errors and intervals; cases of one subject are a cluster.

    Args:
        cases: lines of a journal; those that were skipped count nowhere. The intervals depend on their order.
        key: which scores of a probe: after the edit, or before it.
    """
    samples: dict[tuple[Property, str, str], Sample] = {}
    for case in cases:
        label = cluster_of(case)
        for probe in case.probes:
            for metric, value in getattr(probe, key).items():
                sample = samples.setdefault((probe.property, probe.language, metric), Sample([], []))
                sample.values.append(value)
                sample.labels.append(label)
    scores: Scores = {}
    for (name, language, metric), spread in spreads_of(samples).items():
        scores.setdefault(name, {}).setdefault(language, {})[metric] = _as_score(spread)
    return scores


def score_of(sample: Sequence[float], labels: Sequence[Hashable] | None = None) -> Score:
    """The score of values from 0 to 1.

    Args:
        labels: of the values' clusters; without them, each value is a cluster of its own.
    """
    values = Sample.independent(sample) if labels is None else Sample(list(sample), list(labels))
    return _as_score(spreads_of({"": values})[""])


def _as_score(spread: Spread) -> Score:
    low, high = spread.ci95
    return Score(
        mean=100 * spread.mean, stderr=100 * spread.stderr, ci95=(100 * low, 100 * high),
        n=spread.n, n_clusters=spread.n_clusters,
    )  # fmt: skip
