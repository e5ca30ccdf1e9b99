"""Metrics for free answers, which have a length of their own and may be spelled in another way. All lie between 0 and 1."""

from __future__ import annotations

from xkeb.results.blank import says_nothing
from xkeb.types import REPLACEMENT, Around, Language, Prediction
from xkeb_plugins.metrics.normal_form import normal_form, stands_in

NGRAM = 3
"""Units whose repetition counts."""


def exact(prediction: Prediction, reference: Prediction, language: Language) -> float:
    """1 where both are the same answer, whatever their spelling (see `normal_form`), or the answer is one of the reference's
    aliases. A blank answer, or one with a piece that can't be decoded, is equal to none."""
    if says_nothing(prediction.text) or REPLACEMENT in prediction.text:
        return 0.0
    said = normal_form(prediction.text, language)
    return float(any(said == normal_form(text, language) for text in _accepted(reference)))


def contains(prediction: Prediction, reference: Prediction, language: Language) -> float:
    """1 where the reference, or one of its aliases, stands in the answer (see `stands_in`), or is it in any spelling."""
    return float(any(stands_in(text, prediction.text, language) for text in _accepted(reference)))


def contains_not_old(prediction: Prediction, reference: Prediction, language: Language, *, around: Around) -> float:
    """1 where the answer holds the reference or one of its aliases, and not what was said before the edit."""
    old = stands_in(around.before.text, prediction.text, language)
    return 0.0 if old else contains(prediction, reference, language)


def _accepted(reference: Prediction) -> tuple[str, ...]:
    """The texts that are right."""
    return (reference.text, *reference.aliases)


def repetition(prediction: Prediction, reference: Prediction, language: Language) -> float:
    """The share of runs of three units that occurred before, in all that the model said: 0 where nothing is repeated. It looks
    at no reference."""
    said = language.segment(prediction.text if prediction.raw is None else prediction.raw)
    runs = [tuple(said[i : i + NGRAM]) for i in range(len(said) - NGRAM + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0
