"""The journal of a cell: one line a case, on disk before the next case begins, so that a run can be killed at any moment."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, Self, TypeVar

from xkeb.errors import RequestError, XkebError
from xkeb.results.chain import CHAIN, START, checksum, fits
from xkeb.results.damage import DamageRecord
from xkeb.results.line_file import LineFile
from xkeb.results.lines import BaselineRecord, CaseRecord

LOG = logging.getLogger(__name__)
R = TypeVar("R", CaseRecord, BaselineRecord, DamageRecord)


WHAT_TO_DO = "--fresh starts over; to keep the cases before it, delete this line and those after it, and run again."


class DamagedError(ValueError):
    """A line isn't as it was written; names the file and the line."""


class Journal(Generic[R]):
    """A file of JSON lines that is appended to, a record a case, each with the ``settings`` hash it was made under.

    Opening takes a lock, mends a last line that was cut short, and refuses lines of other settings and damaged ones: each has
    a checksum over itself and the line before it (`xkeb.results.chain`).
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
                open, and discard lines of other settings, or all from a damaged one on, instead of refusing.

        Raises:
            RequestError: the folder can't be written, another process is at work in it, its lines were made under other
                settings, or one of them is damaged.
        """
        self.path = path
        self.record: type[R] = record
        self.settings = settings
        self.lines: dict[str, R] = {}
        self._chain, self._good = START, 0  # of the last line, and where it ends
        self._file = LineFile(path, wait=shared, overwrite=overwrite)
        try:
            try:
                self._read()
            except DamagedError as error:
                if not shared:
                    raise RequestError(f"{error}; {WHAT_TO_DO}") from error
                LOG.warning("%s; what stands before it is kept, and the rest is made again.", error)
                self._file.clear(self._good)
            except RequestError:
                if not shared:
                    raise
                self._file.clear()
                self.lines.clear()
                self._chain = START
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> None:
        for number, line in self._file.read():
            entry = self._parse(line, number)
            self.lines[entry.key] = entry
            self._chain = entry.chain
            self._good += len(line)

    def _parse(self, line: bytes, number: int) -> R:
        """A line as a record.

        Raises:
            DamagedError: it isn't as it was written.
            RequestError: it was made under other settings.
        """
        where = f"{self.path}:{number}"
        try:
            value = json.loads(line)
            whole = fits(value, self._chain)
            if isinstance(value, dict) and value.get("settings", self.settings) != self.settings:
                # Whatever else it holds: lines of another version are of other settings, too.
                if not whole and CHAIN in value:
                    raise DamagedError(f"{where} isn't as it was written")
                raise RequestError(
                    f"{self.path.parent} holds {self.record.what}s made with other settings or data, which are never mixed "
                    "with these; name another --output, or start over with --fresh."
                )
            entry = self.record.model_validate(value)
        except DamagedError:
            raise
        except (ValueError, RecursionError) as error:  # pydantic's own among them
            raise DamagedError(f"{where} is not a line of a journal") from error
        if entry.key in self.lines:
            raise DamagedError(f"{where} repeats {entry.what} {entry.key!r}")
        if not whole:
            raise DamagedError(f"{where} or the line before it isn't as it was written: the checksum doesn't fit")
        return entry

    def append(self, record: R) -> R:
        """Writes one case, and returns it as it stands in the file, when it is on disk."""
        if record.key in self.lines:
            raise XkebError(f"The {record.what} {record.key!r} is already in {self.path}.")
        sealed, line = _sealed(record, self._chain)
        self._file.append(line)
        self.lines[sealed.key] = sealed
        self._chain = sealed.chain
        return sealed

    def rewrite(self, change: Callable[[R], R]) -> None:
        """Writes all cases anew as `change` has them, in one step."""
        made: list[tuple[R, str]] = []
        chain = START
        for record in self.lines.values():
            made.append(_sealed(change(record), chain))
            chain = made[-1][0].chain
        self._file.replace(line for _, line in made)
        self.lines = {sealed.key: sealed for sealed, _ in made}
        self._chain = chain

    def close(self) -> None:
        self._file.close()

    def __contains__(self, key: object) -> bool:
        return key in self.lines

    def __iter__(self) -> Iterator[R]:
        return iter(self.lines.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sealed(record: R, before: str) -> tuple[R, str]:
    """A record with its checksum, and its line.

    Args:
        before: the checksum of the line before.
    """
    value = record.model_dump(mode="json")
    json.dumps(value, allow_nan=False)  # raises before anything is written
    sealed = record.model_copy(update={CHAIN: checksum(value, before)})
    return sealed, json.dumps({**value, CHAIN: sealed.chain}, ensure_ascii=False, allow_nan=False)


def finished_cases(path: Path) -> set[str]:
    """The cases in a journal, for the plan; a rough look, since the journal itself is read again when it is opened."""
    if not path.is_file():
        return set()
    case_ids = set()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            case_ids.add(json.loads(line)["case_id"])
    return case_ids
