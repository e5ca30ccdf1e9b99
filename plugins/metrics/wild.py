"""The exact match of WILD (Yang et al., "The Mirage of Model Editing", ACL 2025)."""

from __future__ import annotations

import re
import string

from xkeb.types import Language, Prediction

ARTICLES = re.compile(r"\b(?:a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_wild(prediction: Prediction, reference: Prediction, language: Language) -> float:
    """1 where both are the same in lower case, without ASCII punctuation, English articles and surplus space, in any language.

    An answer that is compared with the one before the edit is the same where all that was said is, special tokens included:
    the released code compares their ids.
    """
    if reference.raw is not None:
        return float((prediction.raw, prediction.tokens) == (reference.raw, reference.tokens))
    return float(_plain(prediction.text) == _plain(reference.text))


def _plain(text: str) -> str:
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())
