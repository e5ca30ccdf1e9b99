"""Blank answers: what says nothing can't be kept, so it can't measure locality."""

from __future__ import annotations

import unicodedata

from xkeb.types import REPLACEMENT


def says_nothing(text: str) -> bool:
    """Whether an answer has neither a letter, nor a mark, nor a digit: it is empty, space, punctuation or symbols.

    A piece of a character that can't be decoded is one of a letter, as far as anybody knows.
    """
    return not any(character == REPLACEMENT or unicodedata.category(character)[0] in "LMN" for character in text)
