"""Upstream's records, and how their files are read.

The schema is that of Bi-ZsRE's test and training files, which MzsRE shares. Dirt that is known to be in them is dealt
with here, once: what can be mended is mended, and what can't be is named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, TypeAdapter, ValidationError

from xkeb.errors import RequestError, one_line
from xkeb.types import Case, Edit, Probe, Property, Texts

LOCALITY_PREFIX = "nq question: "
"""Stands before every English locality question upstream, and before no other language's."""


PLACES: Mapping[Property, tuple[str, str]] = {
    "reliability": ("src", "alt"),
    "generality": ("rephrase", "alt"),
    "locality": ("loc", "loc_ans"),
}
"""The fields of a property's question and answer."""


class Portability(BaseModel):
    question: str = Field(alias="New Question")
    answer: str = Field(alias="New Answer")


class ParallelRecord(BaseModel):
    """One language of a test record."""

    model_config = ConfigDict(str_strip_whitespace=True)
    subject: str
    src: str
    rephrase: str
    alt: str
    loc: str
    loc_ans: str
    portability: Portability
    _file: Mapping[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def locality(self) -> str:
        return self.loc.removeprefix(LOCALITY_PREFIX.strip()).strip()

    def probe(self, name: Property, language: str) -> Probe:
        """The question of that property, with its raw texts where they are others."""
        if name == "portability":
            return Probe(name, language, self.portability.question, self.portability.answer)
        question, answer = PLACES[name]
        prompt = self.locality if name == "locality" else str(getattr(self, question))
        reference = str(getattr(self, answer))
        raw = Texts(str(self._file.get(question, prompt)), str(self._file.get(answer, reference)))
        return Probe(name, language, prompt, reference, raw if raw != Texts(prompt, reference) else None)

    def empty(self) -> str | None:
        """The first field without which the record can't be asked."""
        fields = {
            "alt": self.alt,
            "src": self.src,
            "rephrase": self.rephrase,
            "loc": self.locality,
            "loc_ans": self.loc_ans,
            "portability question": self.portability.question,
            "portability answer": self.portability.answer,
        }
        return next((name for name, text in fields.items() if not text.strip()), None)


class TrainingRecord(BaseModel):
    """A training record; the Chinese file upstream may lack what has a default here."""

    model_config = ConfigDict(str_strip_whitespace=True)
    src: str
    alt: str
    subject: str = ""
    rephrase: str = ""
    loc: str = ""
    loc_ans: str = ""
    answers: tuple[str, ...] = ()
    """What is true before the edit, where the file says so."""

    @property
    def locality(self) -> str:
        return self.loc.removeprefix(LOCALITY_PREFIX.strip()).strip()


def read_test(
    path: Path, languages: Sequence[str], keys: Mapping[str, str] | None = None
) -> list[dict[str, ParallelRecord]]:
    """The given sides of every record of a test file.

    Args:
        keys: the names that the file has for languages, where they are not their codes.
    """
    names = {code: (keys or {}).get(code, code) for code in languages}
    return [
        {code: _parse_side(path, i, record.get(name), name) for code, name in names.items()}
        for i, record in enumerate(read_records(path))
    ]


def _parse_side(path: Path, index: int, value: Any, name: str) -> ParallelRecord:
    side: ParallelRecord = _parse(ParallelRecord, path, index, value, name)
    side._file = value
    return side


def read_training(path: Path) -> list[TrainingRecord]:
    """Every record of a training file: a JSON list of objects, or (``.txt``) lines of a question, a tab and its answer."""
    if path.suffix == ".txt":
        return _read_lines(path)
    return [_parse(TrainingRecord, path, i, record) for i, record in enumerate(read_records(path))]


def _read_lines(path: Path) -> list[TrainingRecord]:
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    facts = []
    for number, line in enumerate(lines, 1):
        question, *answers = line.split("\t")  # upstream leaves the tab out where there is no answer
        if len(answers) > 1:
            raise RequestError(f"{path}:{number}: expected a question, a tab and an answer; found {len(answers)} tabs.")
        facts.append(TrainingRecord(src=question, alt=answers[0] if answers else ""))
    return facts


def _parse(model: type[Any], path: Path, index: int, value: Any, where: str = "") -> Any:
    try:
        return TypeAdapter(model).validate_python(_without_nulls(value))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ([where] if where else []) + list(first["loc"]))
        problem = "is missing" if first["type"] == "missing" or value is None else f"is wrong: {first['msg']}"
        raise RequestError(f"{path}: record {index}: field {place or 'record'} {problem}.") from error


def _without_nulls(value: Any) -> Any:
    """An object without its nulls, which say no more than a field that is not there."""
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(item) for key, item in value.items() if item is not None}


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON file that holds one list of objects.

    Raises:
        RequestError: says where the file is broken, or which record is no object.
    """
    try:
        records = json.loads(path.read_bytes())
    except UnicodeDecodeError as error:
        problem = "was cut short" if error.end == len(error.object) else "is not UTF-8 text"
        raise RequestError(f"{path} {problem}: {error.reason} at byte {error.start}.") from error
    except json.JSONDecodeError as error:
        raise RequestError(
            f"{path} is not JSON, or was cut short: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except (ValueError, RecursionError) as error:  # an integer of 5,000 digits, a thousand lists within each other
        raise RequestError(f"{path} is no JSON that can be read: {one_line(error)}.") from error
    if not isinstance(records, list) or not records:
        raise RequestError(
            f"{path} should hold a list of records; found {type(records).__name__}{' (empty)' if not records else ''}."
        )
    for i, record in enumerate(records):
        if not isinstance(record, dict):
            raise RequestError(f"{path}: record {i} should be an object; found {type(record).__name__}.")
    return records


def training_case(case_id: str, language: str, fact: TrainingRecord) -> Case:
    """A training fact as a case, with the probes that it has texts for."""
    probes = []
    if fact.rephrase:
        probes.append(Probe("generality", language, fact.rephrase, fact.alt))
    if fact.locality and fact.loc_ans:
        probes.append(Probe("locality", language, fact.locality, fact.loc_ans))
    return Case(case_id, Edit(fact.src, fact.alt, language, fact.subject), tuple(probes))
