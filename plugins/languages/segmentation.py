"""How a text is cut into the units that ``f1_units`` counts: words, or the characters of a script without spaces.

Both go by Unicode's general categories, so every script's punctuation falls away: a unit is made of letters (L), marks (M)
and digits (N), and a symbol (S, such as ``°`` or ``+``) is one where characters are counted. Text is normalised to NFKC
and casefolded first.
"""

import unicodedata
from collections.abc import Mapping

import regex

from xkeb.types import Language

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_JOINED = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:['’][\p{L}\p{M}\p{N}]+)*")
_COUNTED = regex.compile(r"[\p{L}\p{M}\p{N}\p{S}]")


def words(
    code: str,
    name: str,
    qa: str,
    articles: str = "",
    *,
    elides: bool = False,
    script: str = "Latin",
    abbreviations: str = "",
    capitals: Mapping[str, str] | None = None,
) -> Language:
    """A language whose words stand apart. Articles don't count, as in SQuAD's scorer; but a text of nothing else keeps
    them: an answer such as "A" is not empty.

    Args:
        qa: how it puts a question and asks for its answer.
        abbreviations: that end no sentence, beyond those that the library `sentencex` knows.
        elides: an apostrophe ends a word (``l'eau``, ``Ankara'nın``) where otherwise it is part of one (``O'Neill``).
        capitals: letters whose small form is not the one that Unicode gives any language.
    """
    pattern = _WORD if elides else _JOINED
    dropped = frozenset(articles.split())
    small = str.maketrans(dict(capitals or {}))

    def segment(text: str) -> list[str]:
        normal = unicodedata.normalize("NFKC", text).translate(small).casefold()
        words = pattern.findall(unicodedata.normalize("NFC", normal))
        return [word for word in words if word not in dropped] or words

    return Language(code, name, segment, script=script, abbreviations=frozenset(abbreviations.split()), qa=qa)


def characters(code: str, name: str, qa: str, separator: str, script: str, abbreviations: str = "") -> Language:
    """A language that writes no space between words: its units are what a reader sees as one character, that is extended
    grapheme clusters (Unicode's UAX #29): a Thai consonant with its vowel and tone marks is one."""
    return Language(code, name, graphemes, separator, script, frozenset(abbreviations.split()), qa)


def graphemes(text: str) -> list[str]:
    """The grapheme clusters of a text that hold a letter, mark, digit or symbol."""
    normal = unicodedata.normalize("NFKC", text).casefold()
    return [cluster for cluster in regex.findall(r"\X", normal) if _COUNTED.search(cluster)]
