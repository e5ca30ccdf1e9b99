"""One language of a test record: what files call its texts, and how a file of test records is read."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xkeb.data.records import read_records, without_prefix
from xkeb.errors import RequestError
from xkeb.types import PROPERTIES, Probe, Property, Texts

PLACES: Mapping[Property, tuple[str, str]] = {
    "reliability": ("src", "alt"),
    "generality": ("rephrase", "alt"),
    "locality": ("loc", "loc_ans"),
    "portability": ("portability question", "portability answer"),
}
"""The texts that are a property's question and answer."""


@dataclass(frozen=True, slots=True)
class FieldNames:
    """What a file calls the texts of a record, with dots before a key that is inside another's value. None: the file doesn't
    have such a text. Bi-ZsRE's names unless it says otherwise."""

    subject: str = "subject"
    src: str = "src"
    rephrase: str = "rephrase"
    alt: str = "alt"
    loc: str = "loc"
    loc_ans: str = "loc_ans"
    portability_question: str | None = "portability.New Question"
    portability_answer: str | None = "portability.New Answer"
    old: str | None = None
    """The answer that holds before the edit. A record may lack it."""

    def required(self) -> dict[str, str]:
        """By the name that a text has here, what the file calls it, of all that every record must have."""
        names = {name.replace("_", " ") if "portability" in name else name: name for name in self.__slots__}
        return {key: place for key, name in names.items() if name != "old" and (place := getattr(self, name))}


DEFAULT_FIELDS = FieldNames()


@dataclass(frozen=True, slots=True)
class ParallelRecord:
    """One language of a test record."""

    texts: Mapping[str, str]
    """By name, without white space around them: `PLACES`' and ``subject``. One that the file doesn't have is absent."""
    raw: Mapping[str, str]
    """The same as the file has them."""
    old: tuple[str, ...] = ()
    """What is true before the edit, where the file says so."""
    key: str = ""
    """Its ``case_id`` as JSON, where it has one."""

    @property
    def subject(self) -> str:
        return self.texts["subject"]

    @property
    def src(self) -> str:
        return self.texts["src"]

    @property
    def alt(self) -> str:
        return self.texts["alt"]

    def properties(self) -> list[Property]:
        """What it can be asked, in order."""
        return [name for name in PROPERTIES if set(PLACES[name]) <= self.texts.keys()]

    def probe(self, name: Property, language: str) -> Probe:
        """The question of that property, with its raw texts where they are others."""
        question, answer = PLACES[name]
        prompt, reference = self.texts[question], self.texts[answer]
        if name == "locality":
            prompt = without_prefix(prompt)
        raw = Texts(self.raw[question], self.raw[answer])
        return Probe(name, language, prompt, reference, raw if raw != Texts(prompt, reference) else None)

    def empty(self) -> str | None:
        """The first text that is empty and without which the record can't be asked."""
        order = ("alt", "src", "rephrase", "loc", "loc_ans", "portability question", "portability answer")
        texts = {**self.texts, "loc": without_prefix(self.texts["loc"])}
        return next((name for name in order if name in texts and not texts[name]), None)


def read_test(
    path: Path,
    languages: Mapping[str, FieldNames],
    keys: Mapping[str, str] | None = None,
    *,
    optional: Collection[str] = (),
    flat: bool = False,
) -> list[dict[str, ParallelRecord]]:
    """The given sides of every record of a test file.

    Args:
        languages: what the file calls the texts of each.
        keys: the names that the file has for languages, where they are not their codes.
        optional: languages that a record may lack; one that all records lack is still an error.
        flat: the file has one language, and a record's texts stand in it without that language's name above them.
    """
    records = read_records(path)
    sides: list[dict[str, ParallelRecord]] = [{} for _ in records]
    for code, fields in languages.items():
        name = (keys or {}).get(code, code)
        may_lack = code in optional and any(record.get(name) is not None for record in records)
        for i, record in enumerate(records):
            if flat:
                sides[i][code] = _parse_side(path, i, record, (), fields)
            elif record.get(name) is not None or not may_lack:
                sides[i][code] = _parse_side(path, i, record.get(name), (name,), fields)
    return sides


def _parse_side(path: Path, index: int, value: Any, where: tuple[str, ...], fields: FieldNames) -> ParallelRecord:
    """One side of a record.

    Raises:
        RequestError: a text is missing or is none; names the file, the record and the field.
    """
    if not isinstance(value, dict):
        problem = "is missing" if value is None else f"is wrong: expected an object; found {type(value).__name__}"
        raise RequestError(f"{path}: record {index}: field {'.'.join(where)} {problem}.")
    raw = {}
    for name, place in fields.required().items():
        text, at = _inside(value, place)
        if not isinstance(text, str) or at != place:
            expected = "text" if at == place else "an object"
            wrong = f"is wrong: expected {expected}; found {type(text).__name__}"
            problem = "is missing" if text is None else wrong
            raise RequestError(f"{path}: record {index}: field {'.'.join((*where, at))} {problem}.")
        raw[name] = text
    old = _inside(value, fields.old)[0] if fields.old else None
    known = tuple(text for text in (old if isinstance(old, list) else [old]) if isinstance(text, str))
    key = json.dumps(value["case_id"]) if "case_id" in value else ""
    return ParallelRecord({name: text.strip() for name, text in raw.items()}, raw, known, key)


def _inside(value: Mapping[str, Any], place: str) -> tuple[Any, str]:
    """What stands at a place, and the place; of one that is not there, how far it goes and what stands there instead."""
    inner: Any = value
    keys = place.split(".")
    for i, key in enumerate(keys):
        inner = inner.get(key)
        if not isinstance(inner, dict):
            return inner, ".".join(keys[: i + 1])
    return inner, place
