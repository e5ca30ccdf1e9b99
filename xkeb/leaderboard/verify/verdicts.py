"""What a judge said, as far as it can be checked: that the result counts it right, and took no blank answer for right.

The verdicts themselves are taken as given.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence

from xkeb.results.blank import says_nothing
from xkeb.results.lines import CaseRecord, ProbeRecord
from xkeb.results.result import JudgeRecord, Result
from xkeb.results.untrusted import inline, quoted
from xkeb.results.verdicts import BLANK, ITSELF, JUDGE, UNDECIDED, agreements, undecided_reasons, verdicts_of

CLOSE = 1e-6
"""Percent and kappa differ by less: the same operations on the same numbers."""


def check_judge(result: Result, ran: Sequence[CaseRecord]) -> Iterator[str]:
    """What is wrong with what a result says of its judge.

    Args:
        ran: the cases behind the result.
    """
    judged = any(probe.judged for case in ran for probe in case.probes)
    if (result.judge is not None) != (JUDGE in result.metrics) or (judged and result.judge is None):
        yield f"has verdicts, a judge or the metric {JUDGE}, and not all of them"
    for case in ran:
        for probe in case.probes:
            yield from (f"case {quoted(case.case_id)}: {problem}" for problem in _check_probe(probe, result))
    if result.judge is not None:
        yield from _check_counts(result.judge, result, ran)


def _check_probe(probe: ProbeRecord, result: Result) -> Iterator[str]:
    where = f"{probe.property} in {quoted(probe.language)}"
    if probe.judged is None:
        if result.judge is not None:
            yield f"{where} has no verdict, and no reason for that"
        return
    for text, one in ((probe.before, probe.judged.before), (probe.after, probe.judged.after)):
        if one.verdict == UNDECIDED and not one.reason:
            yield f"{where} has no verdict, and no reason for that"
        if one.verdict == "correct" and says_nothing(text):
            yield f"{where} has {quoted(text)} judged as correct, which says nothing"


def _check_counts(judge: JudgeRecord, result: Result, ran: Sequence[CaseRecord]) -> Iterator[str]:
    if judge.prompt_sha256 != hashlib.sha256(judge.prompt.encode()).hexdigest():
        yield "judge.prompt_sha256 is not the hash of judge.prompt"
    verdicts = verdicts_of(ran)
    counts = {"blank": verdicts.count(BLANK), "itself": verdicts.count(ITSELF), "undecided": undecided_reasons(ran)}
    for name, counted in counts.items():
        if getattr(judge, name) != counted:
            yield f"judge.{name} is not what its cases have"
    truth = agreements(ran, result.metrics)
    if {metric: set(languages) for metric, languages in judge.agreement.items()} != {
        metric: set(languages) for metric, languages in truth.items()
    }:
        yield "judge.agreement is of other metrics or languages than its cases have"
        return
    for metric, languages in truth.items():
        for language, one in languages.items():
            claims = judge.agreement[metric][language]
            for name, value in one:
                claim = getattr(claims, name)
                same = claim == value if None in (claim, value) else math.isclose(claim, value, abs_tol=CLOSE)
                if not same:
                    place = ".".join(map(inline, (metric, language, name)))
                    yield f"judge.agreement.{place} is stated as {claim}, and is {value} by its cases"
