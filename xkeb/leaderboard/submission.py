"""A submitted result as it lies on disk: result.json, and the cases.jsonl beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from xkeb.errors import RequestError
from xkeb.leaderboard.hostile import UnreadableError, load, load_lines, quoted
from xkeb.leaderboard.schema import CaseLine, ResultFile, sentences
from xkeb.results import SCHEMA_VERSION, other_version

RESULT, CASES = "result.json", "cases.jsonl"


@dataclass(slots=True)
class Submission:
    """What could be read of the two files."""

    path: Path
    """Of result.json."""
    raw: dict[str, Any] = field(default_factory=dict)
    """The result as it stands in the file: its hash is over this."""
    result: ResultFile | None = None
    cases: dict[str, CaseLine] = field(default_factory=dict)
    """The lines by case, in the order of the file."""
    whole: bool = True
    """Whether every line could be read: only then a case that isn't there is missing."""
    problems: list[str] = field(default_factory=list)
    """A sentence each, without the file and the full stop."""


def find(path: Path) -> list[Path]:
    """The results in a folder, at any depth; or the file itself.

    Raises:
        RequestError: there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RequestError(f"There is no file or folder {path}.")
    found = sorted(file for file in path.rglob(RESULT) if file.is_file())
    if not found:
        raise RequestError(f"There is no {RESULT} in {path}.")
    return found


def read(path: Path) -> Submission:
    """Reads both files, whatever is in them; what is wrong stands in `problems`."""
    found = Submission(path)
    _read_result(found)
    _read_cases(found, path.with_name(CASES))
    return found


def _read_result(found: Submission) -> None:
    try:
        value = load(found.path)
    except UnreadableError as error:
        found.problems.append(str(error))
        return
    version = value.get("schema_version") if isinstance(value, dict) else None
    if isinstance(version, bool) or not isinstance(version, int):
        found.problems.append("is not a result: it has no schema_version that is a number")
        return
    if version != SCHEMA_VERSION:
        found.problems.append(other_version(version))
        return
    try:
        found.result = ResultFile.model_validate(value)
        found.raw = value
    except ValidationError as error:
        found.problems += sentences(error)


def _read_cases(found: Submission, path: Path) -> None:
    if not path.is_file():
        found.whole = False
        found.problems.append(f"has no {CASES} beside it")
        return
    try:
        for number, value in load_lines(path):
            _read_case(found, number, value)
    except UnreadableError as error:
        found.whole = False
        found.problems.append(f"{CASES}: {error}")


def _read_case(found: Submission, number: int, value: Any) -> None:
    where = f"{CASES}, line {number}"
    if isinstance(value, UnreadableError):
        found.whole = False
        found.problems.append(f"{where}: {value}")
        return
    try:
        case = CaseLine.model_validate(value)
    except ValidationError as error:
        found.whole = False
        named = value.get("case_id") if isinstance(value, dict) else None
        where += f", case {quoted(named)}" if isinstance(named, str) else ""
        found.problems += [f"{where}: {sentence}" for sentence in sentences(error)]
        return
    if case.case_id in found.cases:
        found.problems.append(f"{where}: repeats case {quoted(case.case_id)}")
        return
    found.cases[case.case_id] = case
