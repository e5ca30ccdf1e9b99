"""The dirt that a data set's records can have: what each kind is, and how it is found.

Text is compared without regard to case and to space around it. What a dirty record does to a run is decided in
`xkeb.data.dataset`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import regex

from xkeb.data.records import LOCALITY_PREFIX
from xkeb.data.subjects import UNSPACED

SplitName = Literal["training", "validation", "test"]
FIELDS = ("src", "rephrase", "alt", "loc", "loc_ans", "portability question", "portability answer")
"""The texts of a record, by their upstream names, in the order of the paper's Table 1."""

ISSUE_KINDS = {
    "empty field": "the record is skipped, or asked less of; what is skipped is counted in every result",
    "absent field": "the file doesn't have the field at all",
    "absent language": "the record is not in this language; it is skipped, or asked in the others, and counted in every result",
    "locality prefix": f"the question starts with {LOCALITY_PREFIX!r}, which is cut off",
    "same answer": "the target is the same text in both languages, so it transfers for free",
    "same question": "the question is the same text in both languages, so the target language isn't asked",
    "answer in portability question": "the question gives the new answer away",
    "duplicate question": "an earlier record asks the same",
    "subject not in prompt": "a method that edits at the subject finds it only if the task says `subject: aligned`",
    "rephrase equals question": "generality measures nothing that reliability doesn't",
    "locality question of a fact": "it asks for another record's fact, so it is answered by that one's edit",
    "true answer as target": "the edit asks for what is listed as true already",
    "misaligned files": "record n of one language is not record n of the other",
    "unequal sides": "the language that all files have is not the same text in each, so pairs of languages don't ask the same",
}
"""What can be found, and what it means."""

COUNTED = ("absent field", "locality prefix")
"""True of a whole file as a rule, so counted and not listed."""


@dataclass(frozen=True, slots=True)
class PublishedSplit:
    """What a paper states of a split in one language."""

    examples: int
    lengths: tuple[float | None, ...]
    """Mean lengths of `FIELDS` in tokens; None for a field that the split doesn't have."""


_PREFIX = LOCALITY_PREFIX.strip()
"""The readers strip texts, so nothing may stand behind it."""

_WORD = regex.compile(rf"(?V1)[{UNSPACED}]|[[\p{{L}}\p{{N}}_]--[{UNSPACED}]]+|[^\p{{L}}\p{{N}}_\s]")


def words_and_signs(text: str) -> list[str]:
    """Words and punctuation marks; characters one by one in scripts that put no space between words. They are counted
    as well, so nothing of the text is left out; `xkeb.data.subjects` has words of its own, by which it compares."""
    return _WORD.findall(text)


@dataclass(frozen=True, slots=True)
class Issue:
    """One dirty record."""

    kind: str
    """A key of `ISSUE_KINDS`."""
    split: SplitName
    language: str
    """Two codes joined by ``/`` where two languages are compared."""
    record: int | None
    """Counted from 0, as in `Case.id`; None where it is about the whole file."""
    field: str
    detail: str


@dataclass(frozen=True, slots=True)
class RecordTexts:
    """A record in one language."""

    texts: Mapping[str, str]
    """By field; a field that the record doesn't have is absent."""
    subject: str | None
    answers: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    """What else the record calls the subject."""


@dataclass(frozen=True, slots=True)
class SplitTexts:
    """A split in one language."""

    split: SplitName
    language: str
    path: Path
    rows: Sequence[RecordTexts | None]
    """None where a record is not in this language."""
    pivot: tuple[RecordTexts, ...] = ()
    """What is the same of each record in every language's file: the pivot's side, or else the id that it is joined by."""

    def there(self) -> Iterator[tuple[int, RecordTexts]]:
        """Its records with their places, but for those that are not in this language."""
        return ((i, row) for i, row in enumerate(self.rows) if row is not None)

    def issue(self, kind: str, record: int | None, field: str, detail: str) -> Issue:
        return Issue(kind, self.split, self.language, record, field, detail)


def _empty(part: SplitTexts) -> Iterator[Issue]:
    for i, row in part.there():
        for name, text in {"subject": row.subject, **row.texts}.items():
            if text is not None and not text.removeprefix(_PREFIX if name == "loc" else ""):
                yield part.issue("empty field", i, name, "")


def _elsewhere_only(part: SplitTexts) -> Iterator[Issue]:
    for i, row in enumerate(part.rows):
        if row is None:
            yield part.issue("absent language", i, "", "")


def _absent(part: SplitTexts) -> Iterator[Issue]:
    expected = FIELDS if part.split == "test" else FIELDS[:5]
    for i, row in part.there():
        for name in ("subject", *expected):
            if (row.subject if name == "subject" else row.texts.get(name)) is None:
                yield part.issue("absent field", i, name, "")


def _prefixed(part: SplitTexts) -> Iterator[Issue]:
    for i, row in part.there():
        if row.texts.get("loc", "").startswith(_PREFIX):
            yield part.issue("locality prefix", i, "loc", "")


def _given_away(part: SplitTexts) -> Iterator[Issue]:
    for i, row in part.there():
        question = row.texts.get("portability question", "")
        if _stands_in(row.texts["alt"], question):
            detail = f"{row.texts['alt']!r} in {question!r}"
            yield part.issue("answer in portability question", i, "portability question", detail)


def _repeated(part: SplitTexts) -> Iterator[Issue]:
    first: dict[str, int] = {}
    for i, row in part.there():
        if (question := row.texts["src"]) and (original := first.setdefault(question.casefold(), i)) != i:
            yield part.issue("duplicate question", i, "src", f"as record {original}: {question!r}")


def _subject_elsewhere(part: SplitTexts) -> Iterator[Issue]:
    for i, row in part.there():
        if row.subject and row.subject not in row.texts["src"]:  # with regard to case: its tokens are looked for
            yield part.issue("subject not in prompt", i, "subject", f"{row.subject!r} not in {row.texts['src']!r}")


def _not_rephrased(part: SplitTexts) -> Iterator[Issue]:
    for i, row in part.there():
        if (question := row.texts["src"]) and _same(question, row.texts.get("rephrase", "")):
            yield part.issue("rephrase equals question", i, "rephrase", repr(question))


def _about_another(part: SplitTexts) -> Iterator[Issue]:
    first: dict[str, int] = {}
    for i, row in part.there():
        if question := row.texts["src"]:
            first.setdefault(question.casefold(), i)
    for i, row in part.there():
        question = row.texts.get("loc", "").removeprefix(_PREFIX).strip()
        if (original := first.get(question.casefold())) is not None:
            yield part.issue("locality question of a fact", i, "loc", f"record {original}: {question!r}")


def _already_true(part: SplitTexts) -> Iterator[Issue]:
    for i, row in part.there():
        if (answer := row.texts["alt"]) and any(_same(answer, true) for true in row.answers):
            yield part.issue("true answer as target", i, "alt", repr(answer))


CHECKS = (
    _elsewhere_only,
    _empty,
    _absent,
    _prefixed,
    _given_away,
    _repeated,
    _subject_elsewhere,
    _not_rephrased,
    _about_another,
    _already_true,
)


def compare_languages(one: SplitTexts, other: SplitTexts) -> Iterator[Issue]:
    """What only two languages of a split show together."""
    languages = f"{one.language}/{other.language}"
    if (here := len(one.rows)) != (there := len(other.rows)):
        detail = f"{one.path.name} has {here:,} records, {other.path.name} {there:,}"
        yield Issue("misaligned files", one.split, languages, None, "", detail)
        return
    for i, (side, other_side) in enumerate(zip(one.pivot, other.pivot, strict=True)):
        for name in _differing(side, other_side):
            kind, where = ("misaligned files", "") if name == "src" else ("unequal sides", name)
            text, other_text = (row.subject if name == "subject" else row.texts[name] for row in (side, other_side))
            detail = f"{text!r} in {one.path.name}, {other_text!r} in {other.path.name}"
            yield Issue(kind, one.split, languages, i, where, detail)
    if one.split != "test":
        return  # a target is trained on in one language only, so nothing transfers
    for i, (row, twin) in enumerate(zip(one.rows, other.rows, strict=True)):
        for kind, name in (("same answer", "alt"), ("same question", "src")):
            if row and twin and (text := row.texts[name]) and _same(text, twin.texts[name]):
                yield Issue(kind, one.split, languages, i, name, repr(text))


def _differing(side: RecordTexts, other: RecordTexts) -> list[str]:
    """The fields in which two sides are not letter for letter the same; of two that ask something else, the question alone."""
    if side.texts["src"] != other.texts["src"]:
        return ["src"]
    fields = [name for name, text in side.texts.items() if text != other.texts.get(name)]
    return [*(["subject"] if side.subject != other.subject else []), *fields]


def _same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def _stands_in(answer: str, text: str) -> bool:
    """Whether the words of `answer` stand in `text`, one after the other."""
    answer_words, text_words = words_and_signs(answer.casefold()), words_and_signs(text.casefold())
    n = len(answer_words)
    return n > 0 and any(text_words[i : i + n] == answer_words for i in range(len(text_words) - n + 1))
