"""Training facts, and how files of records are read; test records are read by `xkeb.data.sides`.

The schema of training facts is Bi-ZsRE's. Dirt that is known to be in the files is dealt with in these two modules, once:
what can be mended is mended, and what can't be is named.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from xkeb.errors import RequestError, one_line
from xkeb.types import Case, Edit, Probe

LOCALITY_PREFIX = "nq question: "
"""Stands before every English locality question upstream, and before no other language's."""


def without_prefix(question: str) -> str:
    """A locality question as it is asked."""
    return question.removeprefix(LOCALITY_PREFIX.strip()).strip()


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
        return without_prefix(self.loc)


def read_training(path: Path, below: str | None = None) -> list[TrainingRecord]:
    """Every record of a training file: a JSON list of objects, or (``.txt``) lines of a question, a tab and its answer.

    Args:
        below: the key under which a record stands in its object, where it doesn't stand there itself.
    """
    if path.suffix == ".txt":
        return _read_lines(path)
    facts = [record if below is None else record.get(below) for record in read_records(path)]
    return [_parse(TrainingRecord, path, i, fact, below or "") for i, fact in enumerate(facts)]


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
