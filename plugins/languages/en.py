"""English: words, without case, punctuation and articles."""

import re
import unicodedata

from xkeb.types import Language

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_ARTICLES = {"a", "an", "the"}


def words(text: str) -> list[str]:
    """The words of a text, normalised as SQuAD's scorer does: NFKC, lower case, no punctuation, no articles.

    A text of nothing but articles keeps them: an answer such as "A" is not empty.
    """
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return [word for word in found if word not in _ARTICLES] or found


ENGLISH = Language("en", "English", words)
