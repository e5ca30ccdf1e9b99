"""A result as it lies on disk: result.json, and the lines of its cases beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from xkeb.errors import RequestError
from xkeb.results.damage import DAMAGE, DamageRecord
from xkeb.results.fields import sentences
from xkeb.results.lines import CASES, RETENTION, CaseRecord
from xkeb.results.records import Line, R, read_lines
from xkeb.results.result import RESULT, Result, version_problem
from xkeb.results.untrusted import UnreadableError, load_json, quoted


@dataclass(slots=True)
class StoredResult:
    """What could be read of the two files."""

    path: Path
    """Of result.json."""
    result: Result | None = None
    cases: dict[str, CaseRecord] = field(default_factory=dict)
    """The lines by case, in the order of the file."""
    retained: dict[int, dict[str, CaseRecord]] = field(default_factory=dict)
    """After how many edits of a sequence -> the earlier edits, asked again, by case."""
    damage: dict[str, DamageRecord] = field(default_factory=dict)
    """By sequence and number of edits, in the order of the file."""
    whole: bool = True
    """Whether every line could be read: only then a case that isn't there is missing."""
    problems: list[str] = field(default_factory=list)
    """A sentence each, without the file and the full stop."""


def find_result_files(path: Path) -> list[Path]:
    """The results in a folder, at any depth; or the file itself.

    Raises:
        RequestError: there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RequestError(f"There is no file or folder {path}.")
    files = sorted(file for file in path.rglob(RESULT) if file.is_file())
    if not files:
        raise RequestError(f"There is no {RESULT} in {path}.")
    return files


def open_result(path: Path) -> tuple[Path, Result, dict[str, CaseRecord]]:
    """The one result in a folder, or the file itself, with the cases behind its scores.

    Raises:
        RequestError: there is none, there are several, or it can't be read whole.
    """
    files = find_result_files(path)
    if len(files) > 1:
        raise RequestError(f"{path} holds {len(files)} results; name one, such as {files[0].parent}.")
    content = read_stored(files[0])
    if content.problems or content.result is None:
        raise RequestError(f"{files[0]}: {content.problems[0]}.")
    missing = [case_id for case_id in content.result.case_ids if case_id not in content.cases]
    if missing:
        raise RequestError(f"{files[0]}: case {missing[0]!r} is missing from cases.jsonl.")
    return files[0], content.result, {case_id: content.cases[case_id] for case_id in content.result.case_ids}


def read_stored(path: Path) -> StoredResult:
    """Reads the files, whatever is in them; what is wrong stands in `problems`."""
    stored = StoredResult(path)
    _read_result(stored)
    _read_lines(stored, path.with_name(CASES), CaseRecord, stored.cases)
    for edits in (stored.result and stored.result.retention) or {}:
        lines = stored.retained.setdefault(int(edits), {})
        _read_lines(stored, path.with_name(RETENTION.format(edits)), CaseRecord, lines)
    if stored.result and stored.result.damage:
        _read_lines(stored, path.with_name(DAMAGE), DamageRecord, stored.damage)
    return stored


def files_beside(result: Result) -> list[str]:
    """The files of lines that a result has beside it."""
    again = [RETENTION.format(edits) for edits in result.retention or {}]
    return [CASES, *again, *([DAMAGE] if result.damage else [])]


def _read_result(stored: StoredResult) -> None:
    try:
        value = load_json(stored.path)
        if problem := version_problem(value):
            raise UnreadableError(problem)
        stored.result = Result.model_validate(value)
    except UnreadableError as error:
        stored.problems.append(str(error))
    except ValidationError as error:
        stored.problems += sentences(error)


def _read_lines(stored: StoredResult, path: Path, record: type[R], lines: dict[str, R]) -> None:
    if not path.is_file():
        stored.whole = False
        stored.problems.append(f"has no {path.name} beside it")
        return
    try:
        for line in read_lines(path, record):
            where = f"{path.name}, line {line.number}"
            if line.damage:
                stored.problems.append(f"{where}: {line.damage}")
            _take_line(stored, line, lines, where)
    except UnreadableError as error:
        stored.whole = False
        stored.problems.append(f"{path.name}: {error}")


def _take_line(stored: StoredResult, line: Line[R], lines: dict[str, R], where: str) -> None:
    record = line.record
    if record is None:
        stored.whole = False
        named = line.value.get("case_id") if isinstance(line.value, dict) else None
        where += f", case {quoted(named)}" if isinstance(named, str) else ""
        stored.problems += [f"{where}: {sentence}" for sentence in line.sentences()]
    elif record.key in lines:
        stored.problems.append(f"{where}: repeats {record.what} {quoted(record.key)}")
    else:
        lines[record.key] = record
