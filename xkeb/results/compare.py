"""Two results, paired over the questions that both were asked: what differs, and whether by chance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import permutation_test

from xkeb.errors import RequestError
from xkeb.results.reader import find_result_files, read_stored
from xkeb.results.schema import CaseRecord, EditRecord, ProbeRecord, Result
from xkeb.results.statistics import RESAMPLES, spread_of
from xkeb.results.untrusted import printable
from xkeb.types import PROPERTIES

DRAWS = 9999
"""Random sign flips of a permutation test. Up to 13 pairs that differ have fewer, and all of them are tried."""
SAME = 1e-9
"""Scores from 0 to 1 that differ by less are a tie. The statistic is rounded to it too, so that ties are ties in the test."""
INTERVAL = f"95% percentile bootstrap of the mean of the paired differences, {RESAMPLES:,} resamples"
TEST = f"two-sided paired permutation test (sign flips) of the mean difference: all of them, or {DRAWS:,} at random"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two results, with the cases behind it."""

    path: Path
    result: Result
    cases: Mapping[str, CaseRecord]


@dataclass(frozen=True, slots=True)
class Row:
    """One property, language and metric. Scores and differences are times 100."""

    property: str
    language: str
    metric: str
    pairs: int
    a: float
    b: float
    difference: float
    """B - A."""
    ci95: tuple[float, float]
    p: float
    exact: bool
    """Whether all sign flips were tried."""
    wins: int
    """Pairs in which B scores higher."""
    ties: int
    losses: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One question of a case, and what both answered. Scores are from 0 to 1, in the first metric."""

    property: str
    language: str
    prompt: str
    reference: str
    before: tuple[str, str]
    """The untouched models' answers: what locality is judged by."""
    after: tuple[str, str]
    scores: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Changed:
    """A case that the two results disagree about."""

    case_id: str
    edit: EditRecord
    change: float
    """Sum of the absolute differences of its probes."""
    answers: tuple[Answer, ...]
    """The probes that differ, in the order of the case."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that `compare` found."""

    a: Side
    b: Side
    warnings: tuple[str, ...]
    shared: int
    """Cases with a question that both were asked."""
    only_a: int
    only_b: int
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    cases: tuple[Changed, ...]


Pairs = dict[str, list[tuple[ProbeRecord, ProbeRecord]]]
"""By case, the probes that ask the same in both results."""


def compare_results(a: Path, b: Path, *, cases: int = 5) -> Comparison:
    """Compares two results.

    Args:
        a, b: a result.json with its cases.jsonl beside it, or the folder of one.
        cases: how many of those that changed most to keep.

    Raises:
        RequestError: one of them can't be read, or they share no case or no metric.
    """
    if cases < 0:
        raise RequestError(f"--cases must be at least 0, not {cases}.")
    first, second = _open(a), _open(b)
    pairs = _pair(first, second)
    measured = [_metrics(side) for side in (first, second)]
    metrics = tuple(name for name in measured[0] if name in measured[1])
    if not metrics:
        raise RequestError(f"{a} and {b} share no metric: {', '.join(measured[0])} and {', '.join(measured[1])}.")
    return Comparison(
        first,
        second,
        tuple(_warnings(first, second, pairs)),
        len(pairs),
        len(first.cases.keys() - pairs.keys()),
        len(second.cases.keys() - pairs.keys()),
        metrics,
        tuple(_rows(first, pairs, metrics)),
        tuple(_changed(first, pairs, metrics[0])[:cases]),
    )


def _open(path: Path) -> Side:
    files = find_result_files(path)
    if len(files) > 1:
        raise RequestError(f"{path} holds {len(files)} results; name one, such as {files[0].parent}.")
    content = read_stored(files[0])
    if content.problems or content.result is None:
        raise RequestError(f"{files[0]}: {content.problems[0]}.")
    missing = [case_id for case_id in content.result.case_ids if case_id not in content.cases]
    if missing:
        raise RequestError(f"{files[0]}: case {missing[0]!r} is missing from cases.jsonl.")
    return Side(files[0], content.result, {case_id: content.cases[case_id] for case_id in content.result.case_ids})


def _metrics(side: Side) -> list[str]:
    """The metrics of a result, f1 first where it is among them."""
    names = dict.fromkeys(
        metric for case in side.cases.values() for probe in case.probes for metric in sorted(probe.scores)
    )
    return sorted(names, key=lambda name: name != "f1")


def _pair(a: Side, b: Side) -> Pairs:
    """Cases are the same where their ids are, and their questions: two data sets number their records alike."""
    pairs: Pairs = {}
    for case_id, case in a.cases.items():
        if case_id in b.cases:
            others = {_question(probe): probe for probe in b.cases[case_id].probes}
            matches = [(probe, others[_question(probe)]) for probe in case.probes if _question(probe) in others]
            if matches:
                pairs[case_id] = matches
    if not pairs:
        common = len(a.cases.keys() & b.cases.keys())
        why = f"the {common:,} ids that both have stand for other questions" if common else "no id is in both"
        raise RequestError(f"{a.path} and {b.path} share no case: {why}.")
    return pairs


def _question(probe: ProbeRecord) -> tuple[str, str, str, str]:
    return (probe.property, probe.language, probe.prompt, probe.reference)


def _warnings(a: Side, b: Side, pairs: Pairs) -> list[str]:
    """Why a difference may not be the method's."""
    facts: dict[str, list[str]] = {
        "task": [f"{side.result.task.name} (version {side.result.task.version})" for side in (a, b)],
        "data": [f"{side.result.task.dataset.name} {side.result.task.dataset.sha256[:12]}…" for side in (a, b)],
        "model": [
            f"{side.result.model.name} ({side.result.model.dtype}, {side.result.model.sha256[:12]}…)" for side in (a, b)
        ],
        "protocol": [side.result.protocol for side in (a, b)],
        "metrics": [", ".join(sorted(_metrics(side))) for side in (a, b)],
    }
    sentences = [
        f"They differ in {name}: {', and '.join(map(printable, stated))}."
        for name, stated in facts.items()
        if stated[0] != stated[1]
    ]
    parts = sum(len(matches) < max(len(a.cases[i].probes), len(b.cases[i].probes)) for i, matches in pairs.items())
    if parts:
        sentences.append(f"In {parts:,} of the {len(pairs):,} shared cases only some of the questions are the same.")
    others = sum(x.before != y.before for matches in pairs.values() for x, y in matches)
    if others:
        sentences.append(
            f"The untouched model answered {others:,} of the shared questions otherwise; locality is judged by it."
        )
    return sentences


def _rows(a: Side, pairs: Pairs, metrics: Sequence[str]) -> list[Row]:
    samples: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for matches in pairs.values():
        for x, y in matches:
            for metric in metrics:
                if metric in x.scores and metric in y.scores:
                    samples[x.property, x.language, metric].append((x.scores[metric], y.scores[metric]))
    source = a.result.task.source

    def order(place: tuple[str, str, str]) -> tuple[int, bool, str, int]:
        name, language, metric = place
        return ([*PROPERTIES].index(name), language != source, language, metrics.index(metric))  # type: ignore[arg-type]

    return [row(*place, samples[place]) for place in sorted(samples, key=order)]


def row(name: str, language: str, metric: str, sample: Sequence[tuple[float, float]]) -> Row:
    """One row, from its pairs of scores from 0 to 1."""
    a, b = np.asarray(sample, dtype=np.float64).T
    differences = np.where(np.abs(b - a) > SAME, b - a, 0.0)
    p, exact = p_value(differences)
    mean, _, ci95 = spread_of(differences.tolist())
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return Row(
        name, language, metric, len(sample), float(a.mean()) * 100, float(b.mean()) * 100,
        mean, ci95, p, exact, wins, len(sample) - wins - losses, losses,
    )  # fmt: skip


def p_value(differences: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, bool]:
    """Of the hypothesis that each difference [N] might as well have the other sign; and whether all flips were tried.

    Pairs that are equal are left out: flipping them changes nothing, so the value is the same, and exact for more cases.
    """
    differing = differences[differences != 0]
    if len(differing) < 2:  # of one, both signs are as large
        return 1.0, True
    total = len(differences)

    def mean(values: Any, axis: int) -> Any:
        return np.round(values.sum(axis=axis) / total / SAME) * SAME

    test = permutation_test(
        (differing,), mean, permutation_type="samples", n_resamples=DRAWS, batch=500, vectorized=True,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(test.pvalue), 2 ** len(differing) <= DRAWS


def _changed(a: Side, pairs: Pairs, metric: str) -> list[Changed]:
    """The cases with a difference, the largest first, and in the order of A where they are equal."""
    changes = []
    for case_id, probes in pairs.items():
        answers = tuple(
            Answer(
                x.property, x.language, x.prompt, x.reference,
                (x.before, y.before), (x.after, y.after), (x.scores[metric], y.scores[metric]),
            )
            for x, y in probes
            if metric in x.scores and metric in y.scores and abs(x.scores[metric] - y.scores[metric]) > SAME
        )  # fmt: skip
        if answers:
            change = sum(abs(answer.scores[1] - answer.scores[0]) for answer in answers)
            changes.append(Changed(case_id, a.cases[case_id].edit, change, answers))
    return sorted(changes, key=lambda case: -round(case.change, 9))
