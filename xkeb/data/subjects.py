"""Where the subject of an edit stands in its question, where the question doesn't hold it letter for letter.

Questions and subjects that were translated apart disagree: in case and punctuation, in declension (Russian "Донна Рид" is
"Донны Рид" where a question asks about her), and where only one of them was translated. What is found is a piece of the
question, as it is written there, so that offsets into the question hold.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import regex

MatchKind = Literal["exact", "normalised", "alias", "span"]
"""How a subject was found, from the surest on:

``exact``: letter for letter. ``normalised``: all its words in a row, without regard to case, width, space and punctuation
(NFKC). ``alias``: so, but as another language of the record writes it. ``span``: the longest row of its words, or of an
alias's, that the question has, an inflected form counting as the word, if that is enough of it.
"""
MATCH_KINDS: tuple[MatchKind, ...] = ("exact", "normalised", "alias", "span")

LEAST_SPAN = 2 / 3
"""Share of the subject's characters that a span must cover."""
LEAST_STEM = 3 / 5
"""Share of the longer of two words that must be the same from their beginnings, for one to be a form of the other..."""
LEAST_LETTERS = 3
"""...and how many letters at least."""

UNSPACED = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Han}\p{Hiragana}\p{Katakana}"
"""Inside a set of `regex`: the characters of scripts that put no space between words."""
# A word is a run of letters, marks and digits; in those scripts, a grapheme cluster is one.
_WORDS = regex.compile(rf"(?V1)(?=[{UNSPACED}])\X|[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]+|\p{{S}}")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text: as it is compared, and where it stands."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LocatedSubject:
    """A subject in its question."""

    text: str
    """As the question writes it. Its first occurrence in the question is the one that was found."""
    kind: MatchKind


def locate_subject(subject: str, question: str, aliases: Sequence[str] = ()) -> LocatedSubject | None:
    """The subject as it stands in a question; None if it doesn't.

    Args:
        aliases: other names of the same thing, the likelier ones first.
    """
    if subject and subject in question:
        return LocatedSubject(subject, "exact")
    words = split_words(question)
    whole: tuple[tuple[MatchKind, str], ...] = (("normalised", subject), *(("alias", alias) for alias in aliases))
    for kind, name in whole:
        share, text = _longest(split_words(name), words, question, _same)
        if share == 1:
            return LocatedSubject(text, kind)
    spans = [_longest(split_words(name), words, question, _related) for name in (subject, *aliases)]
    share, text = max(spans, key=lambda span: span[0])  # the first of equals
    return LocatedSubject(text, "span") if share >= LEAST_SPAN else None


def split_words(text: str) -> list[Word]:
    """The words of a text; symbols are words, punctuation is not."""
    return [
        Word(unicodedata.normalize("NFKC", match.group()).casefold(), match.start(), match.end())
        for match in _WORDS.finditer(text)
    ]


def _same(one: str, other: str) -> bool:
    return one == other


def _related(one: str, other: str) -> bool:
    """Whether two words are the same, or look like forms of the same."""
    stem = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one == other or (stem >= LEAST_LETTERS and stem >= LEAST_STEM * max(len(one), len(other)))


def _longest(
    name: Sequence[Word], words: Sequence[Word], question: str, alike: Callable[[str, str], bool]
) -> tuple[float, str]:
    """The longest row of a name's words that stands in a question, the first of equals.

    Returns:
        the share of the name's characters that it holds, and the row as the question writes it.
    """
    best, first, last = 0, 0, 0
    row = [(0, 0)] * (len(words) + 1)  # characters of the name, and words, of the row that ends before each asked word
    for word in name:
        ending = [(0, 0)]
        for j, other in enumerate(words):
            length, count = row[j]
            ending.append((length + len(word.text), count + 1) if alike(word.text, other.text) else (0, 0))
            if ending[-1][0] > best:
                best, first, last = ending[-1][0], j - count, j
        row = ending
    if best == 0:
        return 0.0, ""
    text = question[words[first].start : words[last].end]
    here = question.find(text) == words[first].start  # a subject is looked for by its text, so it must come first
    return (best / sum(len(word.text) for word in name), text) if here else (0.0, "")
