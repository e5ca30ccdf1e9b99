"""What the suite relies on in a language, and in a direction."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from xkeb.errors import RequestError
from xkeb.registry.manager import get_plugins
from xkeb.testing.expect import expect, run_all
from xkeb.types import Language

PUNCTUATION = "?!.,;:…、。！？「」«»()—"
LATIN = "NBA 2006"
"""In any language's texts; written alike in all of them."""


@dataclass(frozen=True)
class Sample:
    """A language and a text in it."""

    code: str
    text: str

    @property
    def language(self) -> Language:
        language: Language = get_plugins().languages.get(self.code)
        return language

    def segment(self, text: str) -> list[str]:
        return self.language.segment(text)


def check_language(code: str, text: str) -> None:
    """Cuts a text into units in many spellings.

    Args:
        code: what the language is registered as.
        text: a sentence or two in it, of at least two words.

    Raises:
        AssertionError: a sentence for each check that failed.
    """
    sample = Sample(code, text)
    run_all(f"Language {code!r}", [it_is_a_language], sample)
    run_all(f"Language {code!r}", CHECKS, sample)


def check_pair(name: str) -> None:
    """That a direction leads from one known language to another, and is named after both.

    Raises:
        AssertionError: a sentence for each check that failed.
    """
    run_all(f"Pair {name!r}", [a_pair_joins_two_languages], name)


def it_is_a_language(sample: Sample) -> None:
    language = sample.language
    expect(language.code == sample.code, f"Its code should be the name it is registered as; it is {language.code!r}.")
    expect(
        re.fullmatch(r"[a-z]{2,3}", language.code),
        f"A code should be ISO 639's two or three letters, not {language.code!r}.",
    )
    expect(language.name.strip(), "It should have an English name, for tables; it is empty.")
    expect(
        language.separator in ("", " "),
        f"Between a question and its answer should stand a space or nothing, not {language.separator!r}.",
    )


def a_text_is_cut_into_units(sample: Sample) -> None:
    units = sample.segment(sample.text)
    expect(
        isinstance(units, list) and all(isinstance(unit, str) for unit in units),
        f"`segment` should give a list of texts; it gave {units!r}.",
    )
    expect(len(units) > 1, f"`segment` should cut {sample.text!r} into several; it gave {units!r}.")
    expect(
        all(unit and not any(character.isspace() for character in unit) for unit in units),
        f"Units should be neither empty nor hold spaces; they are {units!r}.",
    )
    expect(sample.segment(sample.text) == units, "The same text should be cut in the same way each time.")


def nothing_has_no_units(sample: Sample) -> None:
    for nothing in ("", "  \n", PUNCTUATION):
        units = sample.segment(nothing)
        expect(not units, f"Spaces and punctuation should have no units; {nothing!r} has {units!r}.")


def punctuation_and_space_make_no_difference(sample: Sample) -> None:
    units = sample.segment(sample.text)
    for other in (f"  {sample.text}\n", f"«{sample.text}»!", f"{sample.text} …", " \t ".join(sample.text.split(" "))):
        pieces = sample.segment(other)
        expect(
            pieces == units,
            f"Punctuation and space around words should make no difference; {other!r} gives {pieces!r}, not {units!r}.",
        )


def forms_of_a_character_are_one(sample: Sample) -> None:
    units = sample.segment(sample.text)
    for form in ("NFC", "NFD", "NFKC"):
        pieces = sample.segment(unicodedata.normalize(form, sample.text))
        expect(
            pieces == units,
            f"The forms of a character should be one (NFKC); the text in {form} gives {pieces!r}, not {units!r}.",
        )
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in LATIN)
    expect(
        sample.segment(wide) == sample.segment(LATIN) != [],
        f"Full-width letters and digits should be plain ones (NFKC); {wide!r} gives {sample.segment(wide)!r}.",
    )


def case_makes_no_difference(sample: Sample) -> None:
    pieces, expected = sample.segment(LATIN.lower()), sample.segment(LATIN)
    expect(pieces == expected, f"Case should make no difference; {LATIN.lower()!r} gives {pieces!r}, not {expected!r}.")


def what_is_cut_stays_cut(sample: Sample) -> None:
    units = sample.segment(sample.text)
    pieces = sample.segment(sample.language.separator.join(units))
    expect(pieces == units, f"Units joined again should be cut as before; {units!r} became {pieces!r}.")


def different_texts_differ(sample: Sample) -> None:
    expect(
        sample.segment(sample.text + " 7") != sample.segment(sample.text),
        "A text with a number more should have other units; it has the same.",
    )


def a_pair_joins_two_languages(name: str) -> None:
    pair = get_plugins().pairs.get(name)
    expect(pair.name == name, f"It should be registered as source-target, {pair.name!r}.")
    expect(pair.source != pair.target, f"It should join two languages; both are {pair.source!r}.")
    for code in pair.languages:
        try:
            get_plugins().languages.get(code)
        except RequestError as error:
            raise AssertionError(f"Both its languages should be registered. {error}") from error


CHECKS = (
    a_text_is_cut_into_units,
    nothing_has_no_units,
    punctuation_and_space_make_no_difference,
    forms_of_a_character_are_one,
    case_makes_no_difference,
    what_is_cut_stays_cut,
    different_texts_differ,
)
