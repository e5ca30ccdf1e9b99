"""Slices: what a case's data tells of it, by which its scores are told apart.

Some cases measure less than others. Where the answer is the same text in two languages, an edit that only trains the model to
say it crosses over by itself. Of an answer that begins with a digit, teacher forcing gives half away. What occurs among the
training facts may have been learnt there.
"""

from __future__ import annotations

from collections.abc import Collection

from xkeb.results.slices import ANSWERS, DIFFER, EQUAL, normal
from xkeb.types import Case

DIGIT, TRAINING = "digit", "training"
"""The kinds that any case may have, beside ANSWERS; what its data labels (`Case.labels`) are more."""


def slices_of(case: Case, trained: Collection[str] | None = None) -> dict[str, str]:
    """The slices that a case is in, kind -> value; a kind that its data can't tell is missing.

    Args:
        trained: answers of the training facts, as `normal` has them; None where there are none here.
    """
    edit = case.edit
    answers = {normal(text) for text in edit.translations.values() if text}
    slices = {DIGIT: "yes" if edit.target.strip()[:1].isdigit() else "no"}
    if len(edit.translations) > 1:
        slices[ANSWERS] = DIFFER if len(answers) > 1 else EQUAL
    if trained is not None:
        slices[TRAINING] = training_slice(edit.target, trained)
    return {**case.labels, **slices}


def training_slice(answer: str, trained: Collection[str]) -> str:
    """The slice of the kind TRAINING that a case with this answer is in."""
    return "yes" if normal(answer) in trained else "no"
