"""Metrics: how a prediction is compared with a reference. All lie between 0 and 1; results are printed times 100."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Protocol

from xkeb.hookspecs import hookimpl
from xkeb.types import REPLACEMENT, Language, Prediction

DEFAULT = ("f1", "em", "f1_pr", "f1_units")
"""What a run scores unless told otherwise."""


class Metric(Protocol):
    """Compares two answers given in `language`."""

    def __call__(self, prediction: Prediction, reference: Prediction, language: Language) -> float: ...


def em(prediction: Prediction, reference: Prediction, language: Language) -> float:
    """Exact match: 1 where the stripped texts are the same. Two undecodable texts must be the same in ids as well,
    which `Prediction.tokens` sees to."""
    return float(prediction.text == reference.text and prediction.tokens == reference.tokens)


def f1(prediction: Prediction, reference: Prediction, language: Language) -> float:
    """Harmonic mean of precision and recall over bags of the backbone's tokens (Section 4.1 of the paper; SQuAD)."""
    if em(prediction, reference, language):
        return 1.0
    return harmonic(*_precision_recall(prediction.tokens, reference.tokens))


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
    return harmonic(*_precision_recall(_units(prediction, language), _units(reference, language)))


def _units(answer: Prediction, language: Language) -> list[Hashable]:
    """The units of an answer. A piece that can't be decoded is one that equals no other."""
    known: list[Hashable] = [unit for unit in language.units(answer.text) if REPLACEMENT not in unit]
    return known + [object() for _ in range(answer.text.count(REPLACEMENT))]


def harmonic(precision: float, recall: float) -> float:
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


@hookimpl
def register_metrics(register: Callable[[str, Metric], None]) -> None:
    for metric in (em, f1, f1_pr, f1_units):
        register(metric.__name__, metric)
