"""What an edit did to a question of its case: fixed it, broke it, reached another language, or got the wrong one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from xkeb.results.lines import CaseRecord, ProbeRecord
from xkeb.results.result import Result
from xkeb.results.settings import HEADLINES

Outcome = Literal["fixed", "broken", "crossed", "wrong-language"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
MEANINGS: Mapping[Outcome, str] = {
    "fixed": "wrong before the edit, right after it",
    "broken": "right before the edit, wrong after it; of locality: no longer what it was",
    "crossed": "fixed in another language than that of the edit",
    "wrong-language": "answered in another language of the case, by the metric wrong_language",
}
ELSEWHERE: tuple[Outcome, ...] = ("crossed", "wrong-language")
"""Those that are about another language than the one of the edit, or of the question."""
WRONG_LANGUAGE = "wrong_language"
"""The metric that tells it."""


def outcomes_of(case: CaseRecord, probe: ProbeRecord, exact: str) -> list[Outcome]:
    """What the edit did to a question.

    Args:
        exact: the metric that is 1 where an answer is right.
    """
    found: list[Outcome] = []
    if probe.scores.get(WRONG_LANGUAGE) == 1:
        found.append("wrong-language")
    if probe.blank or exact not in probe.scores:
        return found
    after = probe.scores[exact] == 1
    if probe.property == "locality":  # its reference is what the model said before
        return found if after else ["broken", *found]
    before = probe.scores_before.get(exact) == 1
    if after and not before:
        found = ["fixed", *(["crossed"] if probe.language != case.edit.language else []), *found]  # type: ignore[list-item]
    elif before and not after:
        found = ["broken", *found]
    return found


def possible_outcomes(result: Result) -> list[Outcome]:
    """The outcomes that a question of the result's task can have: of one language, none that is about another."""
    here = [name for name in OUTCOMES if name not in ELSEWHERE]
    return list(OUTCOMES) if result.task.direction.targets else here


def told_outcomes(result: Result) -> list[Outcome]:
    """Those of them that its metrics tell."""
    told = (name for name in possible_outcomes(result) if name != "wrong-language" or WRONG_LANGUAGE in result.metrics)
    return list(told)


def case_outcomes(case: CaseRecord, exact: str) -> set[Outcome]:
    """What the edit did to any of its questions."""
    return {outcome for probe in case.probes for outcome in outcomes_of(case, probe, exact)}


def exact_metric(result: Result) -> str:
    """The metric of a result that is 1 where an answer is right: that of its protocol, or else the last one measured."""
    headline = HEADLINES[result.protocol][1]
    return headline if headline in result.metrics else result.metrics[-1]
