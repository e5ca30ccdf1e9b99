"""How a text is cut into the units that ``f1_units`` counts: words, or the characters of a script without spaces.

Both go by Unicode's general categories, so every script's punctuation falls away: a unit is made of letters (L), marks (M)
and digits (N), and a symbol (S, such as ``°`` or ``+``) is one where characters are counted. Text is normalised to NFKC
and casefolded first.
"""

import unicodedata
from collections.abc import Callable, Mapping

import regex

APOSTROPHES = "'’"
INVISIBLE = "\u00ad\u200c\u200d"
"""Soft hyphen, and the signs by which neighbours are joined or not: they say how a word is drawn, not what it is."""
_COUNTED = regex.compile(r"[\p{L}\p{M}\p{N}\p{S}]")


def words(
    articles: str = "", inside: str = APOSTROPHES, within: str = "", capitals: Mapping[str, str] | None = None
) -> Callable[[str], list[str]]:
    """What cuts a language whose words stand apart. Articles don't count, as in SQuAD's scorer; but a text of nothing else
    keeps them: an answer such as "A" is not empty.

    Args:
        inside: signs that may stand inside a word (``O'Neill``, ``col·legi``). Empty: an apostrophe ends a word (``l'eau``,
            ``Ankara'nın``).
        within: signs that are written within a word and are no part of it, such as the Armenian question mark.
        capitals: letters whose small form is not the one that Unicode gives any language.
    """
    run = r"[\p{L}\p{M}\p{N}]+"
    pattern = regex.compile(rf"{run}(?:[{regex.escape(inside)}]{run})*" if inside else run)
    dropped = frozenset(articles.casefold().split())
    small = str.maketrans({**(capitals or {}), **dict.fromkeys(INVISIBLE + within, "")})

    def segment(text: str) -> list[str]:
        normal = unicodedata.normalize("NFKC", text).translate(small).casefold()
        found = pattern.findall(unicodedata.normalize("NFC", normal))
        return [word for word in found if word not in dropped] or found

    return segment


def graphemes(text: str) -> list[str]:
    """What a reader sees as one character, where no space stands between words: extended grapheme clusters (Unicode's
    UAX #29) that hold a letter, mark, digit or symbol. A Thai consonant with its vowel and tone marks is one."""
    normal = unicodedata.normalize("NFKC", text).casefold()
    return [cluster for cluster in regex.findall(r"\X", normal) if _COUNTED.search(cluster)]
