"""Exact match, and the overlap of two answers as bags. All lie between 0 and 1; results are printed times 100."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from xkeb.types import REPLACEMENT, Language, Prediction

F = TypeVar("F", bound=Callable[..., float])


def counts_tokens(measure: F) -> F:
    """Marks a metric that looks at the tokens of an answer, not at its text alone: it can't score a text that is cut anew."""
    measure.counts_tokens = True  # type: ignore[attr-defined]
    return measure


@counts_tokens
def em(prediction: Prediction, reference: Prediction, language: Language) -> float:
    """Exact match: 1 where the stripped texts are the same. Two undecodable texts must be the same in ids as well,
    which `Prediction.tokens` sees to."""
    return float(prediction.text == reference.text and prediction.tokens == reference.tokens)


@counts_tokens
def f1(prediction: Prediction, reference: Prediction, language: Language) -> float:
    """Harmonic mean of precision and recall over bags of the backbone's tokens (Section 4.1 of the paper; SQuAD)."""
    if em(prediction, reference, language):
        return 1.0
    return harmonic_mean(*_precision_recall(prediction.tokens, reference.tokens))


@counts_tokens
def f1_pr(prediction: Prediction, reference: Prediction, language: Language) -> float:
    """Precision times recall over the same bags: what the released code computed, and called F1, until November 2024."""
    if em(prediction, reference, language):
        return 1.0
    precision, recall = _precision_recall(prediction.tokens, reference.tokens)
    return precision * recall


def f1_units(prediction: Prediction, reference: Prediction, language: Language) -> float:
    """F1 over the language's own units, words or characters: comparable between backbones, unlike `f1`."""
    if em(prediction, reference, language):
        return 1.0
    return harmonic_mean(*_precision_recall(_segments(prediction, language), _segments(reference, language)))


def _segments(answer: Prediction, language: Language) -> list[Hashable]:
    """The units of an answer. A piece that can't be decoded is one that equals no other."""
    units: list[Hashable] = [unit for unit in language.segment(answer.text) if REPLACEMENT not in unit]
    return units + [object() for _ in range(answer.text.count(REPLACEMENT))]


def harmonic_mean(precision: float, recall: float) -> float:
    """2PR / (P + R), and 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _precision_recall(prediction: Iterable[Hashable], reference: Iterable[Hashable]) -> tuple[float, float]:
    """Share of the predicted items that the reference has, and of the reference's that were predicted, as multisets.
    Both empty counts as right, one empty as wrong."""
    predicted, expected = Counter(prediction), Counter(reference)
    if not predicted or not expected:
        return (1.0, 1.0) if not predicted and not expected else (0.0, 0.0)
    overlap = (predicted & expected).total()
    return overlap / predicted.total(), overlap / expected.total()
