"""Scores of an answer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import cast

from xkeb.types import ChangeMetric, Language, Metric, Prediction


def measured(
    measures: Mapping[str, Metric],
    answer: Prediction,
    expected: Prediction,
    language: Language,
    before: Prediction,
) -> dict[str, float]:
    """The scores of an answer by name, from 0 to 1.

    Args:
        before: the answer before the edit, for metrics that ask what has changed.
    """
    return {name: _measure(measure, answer, expected, language, before) for name, measure in measures.items()}


def _measure(
    measure: Metric, answer: Prediction, expected: Prediction, language: Language, before: Prediction
) -> float:
    if "before" in inspect.signature(measure).parameters:
        return cast("ChangeMetric", measure)(answer, expected, language, before=before)
    return measure(answer, expected, language)
