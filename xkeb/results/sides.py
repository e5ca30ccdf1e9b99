"""A result on one side of a comparison, and its questions paired with those of the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xkeb.errors import RequestError, unknown
from xkeb.results.clusters import cluster_of
from xkeb.results.differences import Paired, Place
from xkeb.results.reader import find_result_files, read_stored
from xkeb.results.schema import CaseRecord, ProbeRecord, Result
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


def in_slice(side: Side, within: str | None) -> Side:
    """The cases of a slice.

    Raises:
        RequestError: no case is in it.
    """
    if within is None:
        return side
    there = sorted({f"{kind}={value}" for case in side.cases.values() for kind, value in case.slices.items()})
    if within not in there:
        raise unknown(f"slice of {side.path}:", within, there)
    kind, _, value = within.partition("=")
    chosen = {case_id: case for case_id, case in side.cases.items() if case.slices.get(kind) == value}
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


def shared_metrics(a: Side, b: Side) -> tuple[str, ...]:
    """Those that both were measured in.

    Raises:
        RequestError: there is none.
    """
    first, second = metrics_of(a), metrics_of(b)
    shared = tuple(name for name in first if name in second)
    if not shared:
        raise RequestError(f"{a.path} and {b.path} share no metric: {', '.join(first)} and {', '.join(second)}.")
    return shared


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
