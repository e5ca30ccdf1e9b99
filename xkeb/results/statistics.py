"""Scores: means over cases, with their uncertainty over the subjects of the cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Literal

from xkeb.results.clusters import cluster_of
from xkeb.results.echo import count_echoes
from xkeb.results.lines import REVERTED, CaseRecord, ProbeRecord
from xkeb.results.scores import BlankRecord, Score, Scores
from xkeb.results.slices import parts_of
from xkeb.results.spread import Sample, Spread, spreads_of
from xkeb.types import Property

Key = Literal["scores", "scores_before", "second_turn"]
"""Which scores of a probe: after the edit, before it, or of the answer when it was asked again."""
MOST_VALUES = 20
"""Of a kind of slices. One with more, such as a relation of its own for each case, is not told."""


def mean_scores(cases: Iterable[CaseRecord], key: Key = "scores", *, with_blank: bool = False) -> Scores:
    """Means over cases, times 100, with standard errors and intervals; cases of one subject are a cluster.

    Args:
        cases: lines of a journal; those that were skipped count nowhere. The intervals depend on their order.
        with_blank: count the questions, too, that can't measure locality.
    """
    samples: dict[tuple[Property, str, str], Sample] = {}
    for case in cases:
        label = cluster_of(case)
        for probe in case.probes:
            if probe.blank and not with_blank:
                continue
            for metric, value in _scores(probe, key).items():
                sample = samples.setdefault((probe.property, probe.language, metric), Sample([], []))
                sample.values.append(value)
                sample.labels.append(label)
    scores: Scores = {}
    for (name, language, metric), spread in spreads_of(samples).items():
        scores.setdefault(name, {}).setdefault(language, {})[metric] = _as_score(spread)
    return scores


def _scores(probe: ProbeRecord, key: Key) -> Mapping[str, float]:
    if key == "scores_before":
        return probe.scores_before
    if key == "scores":
        return probe.scores
    if probe.second is None:
        return {}
    reverted = probe.second.reverted
    return probe.second.scores if reverted is None else {**probe.second.scores, REVERTED: float(reverted)}


def slice_scores(cases: Sequence[CaseRecord], key: Key = "scores") -> dict[str, Scores]:
    """``KIND=VALUE`` -> the means over the cases of each slice. A kind is told where every case has it."""
    ran = [case for case in cases if case.probes]
    kinds = {kind for case in ran for kind in case.slices}
    told = {}
    for kind in sorted(kind for kind in kinds if all(kind in case.slices for case in ran)):
        parts: dict[str, list[CaseRecord]] = {}
        for case in ran:
            for value, part in parts_of(case, kind).items():
                parts.setdefault(value, []).append(part)
        if len(parts) <= MOST_VALUES:
            told.update({f"{kind}={value}": mean_scores(parts[value], key) for value in sorted(parts)})
    return told


def blank_scores(cases: Sequence[CaseRecord]) -> dict[str, BlankRecord]:
    """By language, how many questions can't measure locality, what it would be with them, and how many of them get the answer
    of an edit."""
    blank = [(case, probe) for case in cases for probe in case.probes if probe.blank]
    counts = Counter(probe.language for _, probe in blank)
    if not counts:
        return {}
    echoes = count_echoes(cases)
    scores = mean_scores(cases, with_blank=True).get("locality", {})  # a metric may have nothing to say of any answer
    return {
        language: BlankRecord(n=counts[language], scores=scores.get(language, {}), echoes=echoes[language])
        for language in sorted(counts)
    }


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
