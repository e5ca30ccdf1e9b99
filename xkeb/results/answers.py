"""Scores of an answer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import cast

from xkeb.results.lines import ProbeRecord
from xkeb.types import Around, AroundMetric, Language, Metric, Prediction, Probe

EXACT = "exact"
"""The metric that says whether an answer is right, where a second turn is looked at for one that is not any more."""
Question = Probe | ProbeRecord
"""As a task asks it, or as a journal says that it was asked."""


def measured(
    measures: Mapping[str, Metric], answer: Prediction, expected: Prediction, language: Language, around: Around
) -> dict[str, float]:
    """The scores of an answer by name, from 0 to 1; without those that a metric can't tell."""
    scores = {name: _measure(measure, answer, expected, language, around) for name, measure in measures.items()}
    return {name: score for name, score in scores.items() if score is not None}


def has_reverted(
    exact: Metric, first: Prediction, second: Prediction, gold: Prediction, language: Language
) -> bool | None:
    """Whether the first answer is right and the second one is not; None where the first is not."""
    return not exact(second, gold, language) if exact(first, gold, language) else None


def kept_answers(probe: ProbeRecord) -> tuple[Prediction, Prediction, Prediction]:
    """What a journal holds of a question: the gold answer, the one before the edit and the one after it."""
    text = probe.reference.strip() if probe.compared is None else probe.compared
    before, after = (None, None) if probe.raw is None else (probe.raw.before, probe.raw.after)
    return (
        Prediction(text, tuple(probe.tokens.reference), aliases=tuple(probe.aliases or ())),
        Prediction(probe.before, tuple(probe.tokens.before), raw=before),
        Prediction(probe.after, tuple(probe.tokens.after), raw=after),
    )


def kept_second(probe: ProbeRecord) -> Prediction | None:
    """The answer when the question was asked again, if it was."""
    second = probe.second
    return None if second is None else Prediction(second.after, tuple(second.tokens), raw=second.raw)


def elsewhere(question: Question, questions: Sequence[Question]) -> dict[str, str]:
    """The gold answers to one of a case's questions in its other languages, by code. The edit's own question is asked in one
    language only; in others it is the one in other words."""
    return {
        other.language: other.reference
        for other in questions
        if other.language != question.language and _kind(other) == _kind(question)
    }


def _kind(question: Question) -> str:
    return "generality" if question.property == "reliability" else question.property


def _measure(
    measure: Metric, answer: Prediction, expected: Prediction, language: Language, around: Around
) -> float | None:
    if "around" in inspect.signature(measure).parameters:
        return cast("AroundMetric", measure)(answer, expected, language, around=around)
    return measure(answer, expected, language)
