"""Two results of one comparable group, paired over the questions that both were asked: what differs, and whether by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xkeb.errors import RequestError
from xkeb.results.differences import Row, make_rows
from xkeb.results.group import check_comparable
from xkeb.results.lines import EditRecord
from xkeb.results.sides import (
    Pairs,
    Side,
    in_slice,
    judge_of,
    metrics_of,
    open_side,
    pair_questions,
    paired_samples,
    shared_metrics,
)
from xkeb.results.spread import SAME
from xkeb.results.untrusted import printable

LEAST_POINTS = 0.01
"""A smaller difference needs more records than anybody has."""


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
        RequestError: one of them can't be read, they aren't of one comparable group, they share no case or no metric, or a
            number is impossible.
    """
    if cases < 0:
        raise RequestError(f"--cases must be at least 0, not {cases}.")
    if points is not None and not LEAST_POINTS <= points <= 100:  # no NaN, either
        raise RequestError(f"--points must be from {LEAST_POINTS} to 100, not {points:g}.")
    first, second = (in_slice(open_side(path), within) for path in (a, b))
    check_comparable(first.result, second.result)
    pairs = pair_questions(first, second)
    metrics = shared_metrics(first, second, chosen)
    return Comparison(
        first,
        second,
        tuple(_warnings(first, second, pairs)),
        len(pairs),
        len(first.cases.keys() - pairs.keys()),
        len(second.cases.keys() - pairs.keys()),
        sum(x.blank or y.blank for matches in pairs.values() for x, y in matches),
        metrics,
        tuple(make_rows(paired_samples(first, pairs, metrics), points)),
        tuple(changed_cases(first, pairs, metrics[0])[:cases]),
    )


def _warnings(a: Side, b: Side, pairs: Pairs) -> list[str]:
    """Why a difference may not be the method's."""
    facts: dict[str, list[str]] = {
        "model": [
            f"{side.result.model.name} ({side.result.model.dtype}, {side.result.model.sha256[:12]}…)" for side in (a, b)
        ],
        "chat template": [(side.result.model.template_sha256 or "not said")[:12] for side in (a, b)],
        "metrics": [", ".join(sorted(metrics_of(side))) for side in (a, b)],
    }
    if a.result.judge and b.result.judge:
        facts["judge, whose verdicts are left out"] = [judge_of(side) for side in (a, b)]
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


def changed_cases(a: Side, pairs: Pairs, metric: str) -> list[Changed]:
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
