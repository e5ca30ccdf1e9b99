"""A result on one side of a comparison, and its questions paired with those of the other."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xkeb.errors import RequestError, unknown
from xkeb.results.clusters import cluster_of
from xkeb.results.differences import Paired, Place
from xkeb.results.lines import CaseRecord, ProbeRecord
from xkeb.results.reader import open_result
from xkeb.results.result import Result
from xkeb.results.slices import part_in, parts_of
from xkeb.results.verdicts import JUDGE
from xkeb.types import PROPERTIES


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two results, with the cases behind it."""

    path: Path
    result: Result
    cases: Mapping[str, CaseRecord]


Pairs = dict[str, list[tuple[ProbeRecord, ProbeRecord]]]
"""By case, the probes that ask the same in both results."""


def open_side(path: Path) -> Side:
    """A result with the cases behind it.

    Raises:
        RequestError: it can't be read, is not one, or lacks a case.
    """
    return Side(*open_result(path))


def in_slice(side: Side, within: str | None) -> Side:
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


def metrics_of(side: Side) -> list[str]:
    """The metrics of a result, f1 first where it is among them."""
    names = dict.fromkeys(
        metric for case in side.cases.values() for probe in case.probes for metric in sorted(probe.scores)
    )
    return sorted(names, key=lambda name: name != "f1")


def pair_questions(a: Side, b: Side) -> Pairs:
    """Cases are the same where their ids are, and their questions: two data sets number their records alike.

    Raises:
        RequestError: they share none.
    """
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


def judge_of(side: Side) -> str:
    """Whose verdicts a result has, and on which question."""
    judge = side.result.judge
    if judge is None:
        return ""
    return f"{judge.model} {json.dumps(judge.args, sort_keys=True)}, prompt {judge.prompt_sha256[:12]}…"


def shared_metrics(a: Side, b: Side, chosen: Sequence[str] | None = None) -> tuple[str, ...]:
    """Those that both were measured in; verdicts of two judges are two metrics.

    Args:
        chosen: only these, in this order. None: all.

    Raises:
        RequestError: there is none, or one that was chosen is not among them.
    """
    first, second = metrics_of(a), metrics_of(b)
    same_judge = judge_of(a) == judge_of(b)
    shared = tuple(name for name in first if name in second and (name != JUDGE or same_judge))
    if not shared:
        raise RequestError(f"{a.path} and {b.path} share no metric: {', '.join(first)} and {', '.join(second)}.")
    for name in chosen or ():
        if name not in shared:
            raise unknown("metric of both:", name, shared)
    return tuple(dict.fromkeys(chosen)) if chosen else shared


def paired_samples(a: Side, pairs: Pairs, metrics: Sequence[str]) -> list[tuple[Place, Paired]]:
    """The scores of the pairs, by place: properties in their order, the language of A's edit first.

    A pair belongs to the cluster of A's edit: two directions of one data set name a subject in two languages.
    """
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

    return [(place, samples[place]) for place in sorted(samples, key=order)]
