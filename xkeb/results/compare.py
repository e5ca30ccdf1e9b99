"""Two results, paired over the questions that both were asked: what differs, and whether by chance."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xkeb.errors import RequestError, unknown
from xkeb.results.clusters import cluster_of
from xkeb.results.differences import Paired, Place, Row, make_rows
from xkeb.results.reader import open_result
from xkeb.results.schema import CaseRecord, EditRecord, ProbeRecord, Result
from xkeb.results.slices import part_in, parts_of
from xkeb.results.spread import SAME
from xkeb.results.untrusted import printable
from xkeb.results.verdicts import JUDGE
from xkeb.types import PROPERTIES

LEAST_POINTS = 0.01
"""A smaller difference needs more records than anybody has."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two results, with the cases behind it."""

    path: Path
    result: Result
    cases: Mapping[str, CaseRecord]


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
    blank: int
    """Shared questions that can't measure locality, since what it is compared with says nothing; they are left out."""
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    cases: tuple[Changed, ...]


Pairs = dict[str, list[tuple[ProbeRecord, ProbeRecord]]]
"""By case, the probes that ask the same in both results."""


def compare_results(
    a: Path,
    b: Path,
    *,
    cases: int = 5,
    points: float | None = None,
    within: str | None = None,
    chosen: Sequence[str] | None = None,
) -> Comparison:
    """Compares two results.

    Args:
        a, b: a result.json with its cases.jsonl beside it, or the folder of one.
        cases: how many of those that changed most to keep.
        points: the difference, times 100, whose number of records is to be worked out for each row.
        within: a slice, ``KIND=VALUE``: only its cases.
        chosen: metrics, the one that cases are ordered by first. None: all that both measured.

    Raises:
        RequestError: one of them can't be read, they share no case or no metric, or a number is impossible.
    """
    if cases < 0:
        raise RequestError(f"--cases must be at least 0, not {cases}.")
    if points is not None and not LEAST_POINTS <= points <= 100:  # no NaN, either
        raise RequestError(f"--points must be from {LEAST_POINTS} to 100, not {points:g}.")
    first, second = (_slice(Side(*open_result(path)), within) for path in (a, b))
    pairs = _pair(first, second)
    measured = [_metrics(side) for side in (first, second)]
    judges = [_judge(side) for side in (first, second)]
    metrics = tuple(name for name in measured[0] if name in measured[1] and (name != JUDGE or judges[0] == judges[1]))
    if not metrics:
        raise RequestError(f"{a} and {b} share no metric: {', '.join(measured[0])} and {', '.join(measured[1])}.")
    for name in chosen or ():
        if name not in metrics:
            raise unknown("metric of both:", name, metrics)
    metrics = tuple(dict.fromkeys(chosen)) if chosen else metrics
    return Comparison(
        first,
        second,
        tuple(_warnings(first, second, pairs)),
        len(pairs),
        len(first.cases.keys() - pairs.keys()),
        len(second.cases.keys() - pairs.keys()),
        sum(x.blank or y.blank for matches in pairs.values() for x, y in matches),
        metrics,
        tuple(_rows(first, pairs, metrics, points)),
        tuple(_changed(first, pairs, metrics[0])[:cases]),
    )


def _slice(side: Side, within: str | None) -> Side:
    """The cases of a slice.

    Raises:
        RequestError: no case is in it.
    """
    if within is None:
        return side
    chosen = {case_id: part for case_id, case in side.cases.items() if (part := part_in(case, within))}
    if not chosen:
        cases = side.cases.values()
        there = {f"{kind}={value}" for case in cases for kind in case.slices for value in parts_of(case, kind)}
        raise unknown(f"slice of {side.path}:", within, sorted(there))
    return replace(side, cases=chosen)


def _metrics(side: Side) -> list[str]:
    """The metrics of a result, f1 first where it is among them."""
    names = dict.fromkeys(
        metric for case in side.cases.values() for probe in case.probes for metric in sorted(probe.scores)
    )
    return sorted(names, key=lambda name: name != "f1")


def _judge(side: Side) -> str:
    """Whose verdicts a result has, and on which question: verdicts of others are another metric."""
    judge = side.result.judge
    if judge is None:
        return ""
    return f"{judge.model} {json.dumps(judge.args, sort_keys=True)}, prompt {judge.prompt_sha256[:12]}…"


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
        "options of the protocol": [json.dumps(side.result.protocol_args, sort_keys=True) for side in (a, b)],
        "prompt": [side.result.prompt for side in (a, b)],
        "regime": [side.result.regime for side in (a, b)],
        "metrics": [", ".join(sorted(_metrics(side))) for side in (a, b)],
    }
    if a.result.judge and b.result.judge:
        facts["judge, whose verdicts are left out"] = [_judge(side) for side in (a, b)]
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


def _rows(a: Side, pairs: Pairs, metrics: Sequence[str], points: float | None) -> list[Row]:
    """A pair belongs to the cluster of A's edit: two directions of one data set name a subject in two languages."""
    samples: dict[Place, Paired] = defaultdict(Paired)
    for case_id, matches in pairs.items():
        label = cluster_of(a.cases[case_id])
        for x, y in matches:
            if x.blank or y.blank:
                continue
            for metric in metrics:
                if metric in x.scores and metric in y.scores:
                    sample = samples[x.property, x.language, metric]
                    sample.a.append(x.scores[metric])
                    sample.b.append(y.scores[metric])
                    sample.labels.append(label)
    source = a.result.task.source

    def order(place: Place) -> tuple[int, bool, str, int]:
        name, language, metric = place
        return ([*PROPERTIES].index(name), language != source, language, metrics.index(metric))  # type: ignore[arg-type]

    return make_rows([(place, samples[place]) for place in sorted(samples, key=order)], points)


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
            if not (x.blank or y.blank)
            and metric in x.scores and metric in y.scores and abs(x.scores[metric] - y.scores[metric]) > SAME
        )  # fmt: skip
        if answers:
            change = sum(abs(answer.scores[1] - answer.scores[0]) for answer in answers)
            changes.append(Changed(case_id, a.cases[case_id].edit, change, answers))
    return sorted(changes, key=lambda case: -round(case.change, 9))
