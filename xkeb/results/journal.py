"""The journal of a cell: one line a case, on disk before the next case begins, so that a run can be killed at any moment."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, Self, TypeVar

from xkeb.errors import RequestError, XkebError
from xkeb.results.line_file import LineFile
from xkeb.results.schema import BaselineRecord, CaseRecord

R = TypeVar("R", CaseRecord, BaselineRecord)


class Journal(Generic[R]):
    """An append-only file of JSON lines, a record a case, each with the ``settings`` hash it was made under.

    Opening takes a lock, mends a last line that was cut short, and refuses lines of other settings.
    """

    def __init__(
        self, path: Path, record: type[R], settings: str, *, overwrite: bool = False, shared: bool = False
    ) -> None:
        """
        Args:
            record: what a line is.
            settings: hash of everything that a line depends on.
            overwrite: discard what is there.
            shared: a file that several runs fill, and that can be made again: wait for another process that has it
                open, and discard lines of other settings, instead of refusing.

        Raises:
            RequestError: the folder can't be written, another process is at work in it, or its lines were made under
                other settings.
        """
        self.path = path
        self.record: type[R] = record
        self.settings = settings
        self.lines: dict[str, R] = {}
        self._file = LineFile(path, wait=shared, overwrite=overwrite)
        try:
            try:
                self._read()
            except RequestError:
                if not shared:
                    raise
                self._file.clear()
                self.lines.clear()
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> None:
        for number, line in self._file.read():
            entry = self._parse(line, number)
            if entry.case_id in self.lines:
                raise RequestError(f"{self.path}:{number} repeats case {entry.case_id!r}; --fresh starts over.")
            self.lines[entry.case_id] = entry

    def _parse(self, line: bytes, number: int) -> R:
        try:
            value = json.loads(line)
            if isinstance(value, dict) and value.get("settings", self.settings) != self.settings:
                # Whatever else it holds: lines of another version are of other settings, too.
                raise RequestError(
                    f"{self.path.parent} holds cases made with other settings, which are never mixed with these; "
                    f"name another --output, or start over with --fresh."
                )
            return self.record.model_validate(value)
        except (ValueError, RecursionError) as error:  # pydantic's own among them
            raise RequestError(f"{self.path}:{number} is not a line of a journal; --fresh starts over.") from error

    def append(self, record: R) -> None:
        """Writes one case, and returns when it is on disk."""
        if record.case_id in self.lines:
            raise XkebError(f"Case {record.case_id!r} is already in {self.path}.")
        self._file.append(json.dumps(record.model_dump(mode="json"), ensure_ascii=False, allow_nan=False))
        self.lines[record.case_id] = record

    def close(self) -> None:
        self._file.close()

    def __contains__(self, case_id: object) -> bool:
        return case_id in self.lines

    def __iter__(self) -> Iterator[R]:
        return iter(self.lines.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def finished_cases(path: Path) -> set[str]:
    """The cases in a journal, for the plan; a rough look, since the journal itself is read again when it is opened."""
    if not path.is_file():
        return set()
    case_ids = set()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            case_ids.add(json.loads(line)["case_id"])
    return case_ids
