"""What a judge said of free answers, as scores, counts, and agreement with the metrics that compare spellings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from xkeb.results.lines import CaseRecord, JudgedRecord, ProbeRecord, VerdictRecord
from xkeb.results.result import AgreementRecord
from xkeb.results.statistics import Key

JUDGE = "judge"
"""The metric that a judge's verdicts are. No plugin can compute it: an answer alone doesn't tell it."""
COMPARED: tuple[str, ...] = ("exact", "em")
"""Metrics whose agreement with a judge is told: both say right or wrong."""
SCORES: Mapping[str, float] = {"correct": 1.0, "incorrect": 0.0}
"""An answer without a verdict has no score."""
UNDECIDED: Final = "undecided"
BLANK = VerdictRecord(verdict="incorrect", reason="the answer says nothing")
ITSELF = VerdictRecord(verdict="correct", reason="it is compared with itself")
NO_REFERENCE = VerdictRecord(verdict=UNDECIDED, reason="what it is compared with says nothing")
KEYS: tuple[Key, ...] = ("scores", "scores_before")
UNASKED = (BLANK, ITSELF, NO_REFERENCE)
"""What is said of an answer that no judge is asked about."""


def judge_score(probe: ProbeRecord, key: Key) -> float | None:
    """The score that a verdict is; None where there is no verdict."""
    if probe.judged is None:
        return None
    return SCORES.get((probe.judged.after if key == "scores" else probe.judged.before).verdict)


def with_verdicts(probe: ProbeRecord, judged: JudgedRecord) -> ProbeRecord:
    """The question with what a judge said of its answers."""
    probe = probe.model_copy(update={"judged": judged})
    update: dict[str, dict[str, float]] = {}
    for key in KEYS:
        others = {name: score for name, score in getattr(probe, key).items() if name != JUDGE}
        score = judge_score(probe, key)
        update[key] = others if score is None else {**others, JUDGE: score}
    return probe.model_copy(update=update)


def verdicts_of(cases: Iterable[CaseRecord]) -> list[VerdictRecord]:
    """All verdicts on answers before and after the edits."""
    judged = [probe.judged for case in cases for probe in case.probes if probe.judged]
    return [verdict for both in judged for verdict in (both.before, both.after)]


def undecided_reasons(cases: Iterable[CaseRecord]) -> dict[str, int]:
    """How many answers have no verdict, by reason, the most frequent one first."""
    reasons = Counter(one.reason or "" for one in verdicts_of(cases) if one.verdict == UNDECIDED)
    return dict(reasons.most_common())


def agreements(cases: Sequence[CaseRecord], metrics: Iterable[str]) -> dict[str, dict[str, AgreementRecord]]:
    """By metric and language, how a judge and the metric agree, over the answers after the edit that the judge decided."""
    told: dict[str, dict[str, AgreementRecord]] = {}
    for metric in (name for name in COMPARED if name in set(metrics)):
        pairs: dict[str, Counter[tuple[bool, bool]]] = {}
        for probe in (probe for case in cases for probe in case.probes):
            score = judge_score(probe, "scores")
            if score is None or probe.judged is None or probe.judged.after in UNASKED or metric not in probe.scores:
                continue
            pairs.setdefault(probe.language, Counter())[score == 1, probe.scores[metric] == 1] += 1
        told[metric] = {language: agreement(counts) for language, counts in sorted(pairs.items())}
    return told


def agreement(counts: Mapping[tuple[bool, bool], int]) -> AgreementRecord:
    """Agreement in percent and Cohen's kappa (Cohen 1960, Educational and Psychological Measurement 20:37).

    Args:
        counts: of answers, by whether the judge and the metric take them for right; at least one answer.
    """
    both_right, judge_only = counts.get((True, True), 0), counts.get((True, False), 0)
    metric_only, both_wrong = counts.get((False, True), 0), counts.get((False, False), 0)
    n = both_right + judge_only + metric_only + both_wrong
    same = both_right + both_wrong
    judge, metric = both_right + judge_only, both_right + metric_only
    by_chance = judge * metric + (n - judge) * (n - metric)  # times n squared
    return AgreementRecord(
        both_right=both_right,
        both_wrong=both_wrong,
        judge_only=judge_only,
        metric_only=metric_only,
        percent=100 * same / n,
        kappa=(n * same - by_chance) / (n * n - by_chance) if by_chance < n * n else None,
    )
