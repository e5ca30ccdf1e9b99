"""The gap between two ways of asking: one method on the same cases under two protocols, prompts, regimes or tasks.

Neither side is better than the other, since their numbers are no measure of one thing. So there are no tests here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xkeb.errors import RequestError
from xkeb.results.compare import Changed, changed_cases
from xkeb.results.differences import Paired, Place
from xkeb.results.group import Across, group_differences, in_words
from xkeb.results.sides import Pairs, Side, in_slice, open_side, pair_questions, paired_samples, shared_metrics
from xkeb.results.slices import parts_of
from xkeb.results.spread import Sample, spreads_of
from xkeb.results.statistics import MOST_VALUES


@dataclass(frozen=True, slots=True)
class GapRow:
    """One property, language and metric. Scores and the gap are times 100."""

    property: str
    language: str
    metric: str
    pairs: int
    clusters: int
    """Subjects of the pairs."""
    a: float
    b: float
    gap: float
    """B - A."""
    ci95: tuple[float, float]
    """Of the gap, over subjects."""


@dataclass(frozen=True, slots=True)
class GapPart:
    """All shared cases, or those of a slice."""

    within: str | None
    """``KIND=VALUE``; None for all."""
    cases: int
    rows: tuple[GapRow, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """Everything that `compare --across` found."""

    a: Side
    b: Side
    across: Across
    differences: dict[str, tuple[str, str]]
    """What the two differ in."""
    shared: int
    """Cases with a question that both were asked."""
    only_a: int
    only_b: int
    metrics: tuple[str, ...]
    parts: tuple[GapPart, ...]
    cases: tuple[Changed, ...]
    """Those where the two differ most."""


def find_gap(
    a: Path,
    b: Path,
    across: Across,
    *,
    cases: int = 5,
    within: str | None = None,
    chosen: Sequence[str] | None = None,
) -> Gap:
    """The gap between two results of one method on one model.

    Args:
        a, b: as for `compare_results`.
        across: what they differ in.
        cases: how many of those where they differ most to keep.
        within: a slice, ``KIND=VALUE``: only its cases. Without it, all cases and then those of each slice that A tells.
        chosen: metrics, the one that cases are ordered by first. None: all that both measured.

    Raises:
        RequestError: one of them can't be read, they differ in something else too, or not in that, or they share no case or no
            metric.
    """
    if cases < 0:
        raise RequestError(f"--cases must be at least 0, not {cases}.")
    first, second = (in_slice(open_side(path), within) for path in (a, b))
    differences = _check(first, second, across)
    pairs = pair_questions(first, second)
    metrics = shared_metrics(first, second, chosen)
    parts = [_part(first, pairs, metrics, within)]
    if within is None:
        parts += [_part(first, chosen, metrics, name) for name, chosen in _slices(first, pairs)]
    return Gap(
        first,
        second,
        across,
        differences,
        len(pairs),
        len(first.cases.keys() - pairs.keys()),
        len(second.cases.keys() - pairs.keys()),
        metrics,
        tuple(parts),
        tuple(changed_cases(first, pairs, metrics[0])[:cases]),
    )


def _check(a: Side, b: Side, across: Across) -> dict[str, tuple[str, str]]:
    """What they differ in.

    Raises:
        RequestError: it is not what was asked for, or they are of two methods or models.
    """
    one, other = a.result, b.result
    groups = group_differences(one, other)
    differences = groups.pop(across, {})
    if not differences:
        raise RequestError(f"{a.path} and {b.path} don't differ in their {across}, so there is no gap across it.")
    others = {name: both for facts in groups.values() for name, both in facts.items()}
    if one.model.sha256 != other.model.sha256:
        others["model"] = (one.model.name, other.model.name)
    if one.method.name != other.method.name:
        others["method"] = (one.method.name, other.method.name)
    elif one.method.params != other.method.params:
        names = sorted(one.method.params.keys() | other.method.params.keys())
        params = [(name, one.method.params.get(name), other.method.params.get(name)) for name in names]
        others |= {f"the method's {name}": (str(x), str(y)) for name, x, y in params if x != y}
    if others:
        raise RequestError(
            f"A gap across {across} is of results that are alike otherwise; these differ in {in_words(others)}."
        )
    return differences


def _slices(a: Side, pairs: Pairs) -> list[tuple[str, Pairs]]:
    """The shared cases of each slice, of the kinds that tell them apart."""
    found: list[tuple[str, Pairs]] = []
    for kind in sorted({kind for case_id in pairs for kind in a.cases[case_id].slices}):
        parts: dict[str, Pairs] = {}
        for case_id, matches in pairs.items():
            for value, part in parts_of(a.cases[case_id], kind).items():
                inside = {id(probe) for probe in part.probes}
                if those := [(x, y) for x, y in matches if id(x) in inside]:
                    parts.setdefault(value, {})[case_id] = those
        if 2 <= len(parts) <= MOST_VALUES:
            found += [(f"{kind}={value}", parts[value]) for value in sorted(parts)]
    return found


def _part(a: Side, pairs: Pairs, metrics: Sequence[str], within: str | None) -> GapPart:
    samples = paired_samples(a, pairs, metrics)
    return GapPart(within, len(pairs), tuple(_rows(samples)))


def _rows(samples: Sequence[tuple[Place, Paired]]) -> list[GapRow]:
    spreads = spreads_of(
        {place: Sample(sample.differences.tolist(), sample.labels) for place, sample in samples}, low=-1.0
    )
    rows = []
    for place, sample in samples:
        spread = spreads[place]
        low, high = spread.ci95
        means = [100 * sum(values) / len(values) for values in (sample.a, sample.b)]
        rows.append(
            GapRow(*place, spread.n, spread.n_clusters, means[0], means[1], 100 * spread.mean, (100 * low, 100 * high))
        )
    return rows
