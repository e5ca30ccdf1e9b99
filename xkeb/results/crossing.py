"""What crosses from the language of the edits to each of several others.

It is measured by generality, which is asked in both. The gain in a language is the mean over cases of the score after the
edit less that of the untouched model; a model that knew the answer has gained nothing. What crosses is the gain in the target
relative to the gain in the source, over the same cases. docs/metrics.md has the formulae.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeVar

import numpy as np

from xkeb.results.clusters import Clusters, Floats, cluster_of
from xkeb.results.lines import CaseRecord
from xkeb.results.scores import CrossingRecord, Crossings
from xkeb.results.settings import headline_metrics
from xkeb.results.slices import HEADLINE, part_in
from xkeb.results.spread import SAME, ratio_interval
from xkeb.results.statistics import score_of
from xkeb.types import Direction

ALL = "all"
"""What the measures over all cases are kept under; those over the cases whose answers differ come first."""


@dataclass(slots=True)
class _Both:
    """The scores of the cases that are asked in both languages, from 0 to 1, a case a place."""

    before: list[tuple[float, float]] = field(default_factory=list)
    """In the source and in the target."""
    after: list[tuple[float, float]] = field(default_factory=list)
    labels: list[Hashable] = field(default_factory=list)


def crossing_scores(cases: Iterable[CaseRecord], direction: Direction, protocol: str) -> Crossings | None:
    """The measures of each target, over the cases whose answers differ and over all; None of one or two languages.

    Args:
        cases: lines of a journal; those that were skipped count nowhere. The intervals depend on their order.
        protocol: by whose two metrics it is measured; by all that there are, where neither is there.
    """
    if len(direction.targets) < 2:
        return None
    ran = [case for case in cases if case.probes]
    differing = [part for case in ran if (part := part_in(case, HEADLINE))]
    found: Crossings = {}
    for name, chosen in ((HEADLINE, differing), (ALL, ran)):
        by_target = {code: _crossing(chosen, direction.source, code, protocol) for code in direction.targets}
        if told := {code: metrics for code, metrics in by_target.items() if metrics}:
            found[name] = told
    return found


def _crossing(cases: Sequence[CaseRecord], source: str, target: str, protocol: str) -> dict[str, CrossingRecord]:
    """By metric."""
    samples: dict[str, _Both] = {}
    for case in cases:
        asked = {probe.language: probe for probe in case.probes if probe.property == "generality"}
        if source in asked and target in asked:
            here, there = asked[source], asked[target]
            told = (here.scores, there.scores, here.scores_before, there.scores_before)
            for metric in here.scores:
                if all(metric in scores for scores in told):
                    both = samples.setdefault(metric, _Both())
                    both.before.append((here.scores_before[metric], there.scores_before[metric]))
                    both.after.append((here.scores[metric], there.scores[metric]))
                    both.labels.append(cluster_of(case))
    return {metric: _record(samples[metric]) for metric in headline_metrics(protocol, list(samples))}


def _record(both: _Both) -> CrossingRecord:
    gains = np.array(both.after) - np.array(both.before)  # (N, 2)
    sums: Floats = Clusters.of(both.labels).sums(gains.T)  # (2, G)
    here, there = (float(gain) for gain in gains.mean(axis=0))
    interval = ratio_interval(sums[1], sums[0]) if here > SAME else None
    return CrossingRecord(
        gain=100 * there,
        gain_source=100 * here,
        transfer=100 * there / here if here > SAME else None,
        ci95=None if interval is None else (100 * interval[0], 100 * interval[1]),
        both=score_of([min(scores) for scores in both.after], both.labels),
    )


# Of several languages

Matrix = Mapping[tuple[str, str], float]
"""A measure by source and target."""
K = TypeVar("K", bound=Hashable)


def asymmetries(matrix: Matrix) -> dict[tuple[str, str], float]:
    """How much more crosses one way than back, for each two languages of which both ways are known, by the better way."""
    both = {way: value - matrix[way[::-1]] for way, value in matrix.items() if way[::-1] in matrix}
    return {way: difference for way, difference in both.items() if (difference, way) > (-difference, way[::-1])}


def group_means(values: Mapping[K, float], group_of: Callable[[K], str]) -> dict[str, float]:
    """The mean of a measure over each group of languages, such as a family or a script, or over each group of directions. A
    language, or direction, counts once, however many cases it has.

    Args:
        group_of: the group of one; what has none (``""``) is left out.
    """
    groups: dict[str, list[float]] = {}
    for one, value in values.items():
        if group := group_of(one):
            groups.setdefault(group, []).append(value)
    return {group: fmean(members) for group, members in groups.items()}
