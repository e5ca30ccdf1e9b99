"""Answers without what only spelling tells apart: case, width, punctuation, articles, scripts, forms of numbers and dates."""

from __future__ import annotations

import functools
import re
import unicodedata
from datetime import datetime
from decimal import Decimal
from typing import Any

from xkeb.errors import optional_import
from xkeb.types import Language

YEAR = re.compile(r"(\d{3,4})\s*(?:年|г\.?|года?|roku|yılı|năm)?")
"""A year alone, with the word for it where languages write one."""
DIGITS = re.compile(r"(\d+)")
NEEDED = "The comparison of free answers"


def normal_form(text: str, language: Language) -> tuple[str, ...]:
    """What two spellings of one answer share: a number, a date, or the language's units.

    The units are those of `Language.segment`: NFKC, case, punctuation and articles aside. Chinese is written in simplified
    characters first (OpenCC). A text that is a number, a year or a date as a whole is that, however the language writes it
    (Babel, cn2an, dateparser).

    Raises:
        RequestError: a library isn't installed.
    """
    plain = simplified(text, language).strip()
    bare = plain.strip(".。,，!！?？ ")
    return _number(bare, language.code) or _date(bare, language.code) or units(plain, language)


def units(text: str, language: Language) -> tuple[str, ...]:
    """The language's units of a text, Chinese in simplified characters."""
    return tuple(language.segment(simplified(text, language)))


def simplified(text: str, language: Language) -> str:
    """NFKC; Chinese in simplified characters."""
    normal = unicodedata.normalize("NFKC", text)
    return str(_converter().convert(normal)) if language.code == "zh" else normal


def stands_in(part: str, whole: str, language: Language) -> bool:
    """Whether a text says what another says, alone or among other things; a text without units stands nowhere.

    Its units stand there one after the other. A run of digits is one unit in every language, so 12 doesn't stand in 1912; a
    year stands where its number does.
    """
    year = YEAR.fullmatch(simplified(part, language).strip())
    units, among = _pieces(year[1] if year else part, language), _pieces(whole, language)
    width = len(units)
    if not width:
        return False
    return any(among[i : i + width] == units for i in range(len(among) - width + 1)) or (
        normal_form(part, language) == normal_form(whole, language)
    )


def _pieces(text: str, language: Language) -> list[str]:
    """The language's units, and runs of digits."""
    parts = DIGITS.split(simplified(text, language))
    return [unit for part in parts for unit in ([part] if part.isdecimal() else language.segment(part))]


@functools.cache
def _converter() -> Any:
    return optional_import("opencc", "generate", NEEDED).OpenCC("t2s")


def _number(text: str, code: str) -> tuple[str, ...]:
    """A number or a year; empty where the text is neither."""
    if year := YEAR.fullmatch(text):
        return ("number", str(int(year[1])))
    if code == "zh" and text and not any(character.isdigit() and character.isascii() for character in text):
        try:
            return ("number", _written(optional_import("cn2an", "generate", NEEDED).cn2an(text, "strict")))
        except (ValueError, ArithmeticError):
            return ()
    if not any(character.isdigit() for character in text) or any(one.isalpha() or one == "_" for one in text):
        return ()  # 1e5 and 1_000 are numbers to a programming language alone
    numbers = optional_import("babel.numbers", "generate", NEEDED)
    digits = "".join(str(unicodedata.digit(character, character)) for character in text)
    try:
        return ("number", _written(numbers.parse_decimal(digits, locale=code, strict=True)))
    except (ValueError, ArithmeticError, numbers.UnsupportedNumberingSystemError):  # NumberFormatError is a ValueError
        return ()
    except Exception as error:
        if type(error).__name__ == "UnknownLocaleError":  # a language that Babel doesn't know
            return ()
        raise


def _written(number: int | float | Decimal) -> str:
    return format(Decimal(str(number)).normalize(), "f")


def _date(text: str, code: str) -> tuple[str, ...]:
    """A day of a year; empty where the text is none."""
    if len(text) > 40 or not re.search(r"\d{3,4}", text):
        return ()
    dateparser = optional_import("dateparser", "generate", NEEDED)
    try:
        found: datetime | None = dateparser.parse(text, languages=[code], settings={"STRICT_PARSING": True})
    except ValueError:  # a language that it doesn't know
        return ()
    return () if found is None else ("date", found.date().isoformat())
