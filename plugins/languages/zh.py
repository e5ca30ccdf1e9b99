"""Chinese: characters, without case, space and punctuation. No space stands between a question and its answer."""

import unicodedata

from xkeb.types import Language


def characters(text: str) -> list[str]:
    """The letters, digits and symbols of a text after NFKC (full-width forms become ASCII), one by one."""
    normal = unicodedata.normalize("NFKC", text).casefold()
    return [character for character in normal if unicodedata.category(character)[0] in "LMNS"]


CHINESE = Language("zh", "Chinese", characters, joiner="")
