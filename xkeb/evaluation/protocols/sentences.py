"""Where a free answer ends: the first line, or the first sentence, in the language of the answer."""

from __future__ import annotations

import re
from typing import Any, Literal

from xkeb.errors import optional_import
from xkeb.results.blank import says_nothing
from xkeb.types import Language

Cut = Literal["sentence", "line", "none"]
"""What is kept of what a model says: its first sentence, its first line, or all of it."""
BREAK = re.compile(r"[\n\v\f\r\x85\u2028\u2029]")
"""The end of a line or a paragraph, in any script."""


def first_line(text: str) -> str:
    """The first line that isn't blank, without space around it."""
    return next((line.strip() for line in BREAK.split(text) if line.strip()), "")


def is_past_first_line(text: str) -> bool:
    """Whether a line that isn't blank has ended."""
    return any(line.strip() for line in BREAK.split(text)[:-1])


def first_sentence(text: str, language: Language) -> str:
    """The first sentence of a text in one line, with what ends it.

    The rules of the library `sentencex` say where a sentence of a language ends: ``J. R. R. Tolkien`` goes on, ``。`` ends.
    What it takes for an end after one of the language's `abbreviations` is none.

    Raises:
        RequestError: the library isn't installed.
    """
    sentence = ""
    for part in sentence_library().segment(language.code, text):
        sentence += part
        words = sentence.casefold().split()
        # A model may first complete the question: its mark alone is no answer.
        if words and words[-1] not in language.abbreviations and not says_nothing(sentence):
            break
    return sentence.strip()


def sentence_library() -> Any:
    """The library that knows where sentences end.

    Raises:
        RequestError: it isn't installed.
    """
    return optional_import("sentencex", "generate", "--protocol generate")


def cut_answer(text: str, language: Language, cut: Cut) -> str:
    """What counts of what a model said."""
    if cut == "none":
        return text.strip()
    line = first_line(text)
    return first_sentence(line, language) if cut == "sentence" else line
