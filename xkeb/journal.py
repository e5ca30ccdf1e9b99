"""The journal of a cell: one line a case, on disk before the next case begins, so that a run can be killed at any moment."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from xkeb.errors import RequestError, XkebError

LINES_VERSION = 1
"""Of what stands in a line of ``cases.jsonl`` and ``before.jsonl``. A part of their settings, unlike the version of
result.json, which can be made again from the lines."""


class Journal:
    """An append-only file of JSON lines, each with a ``case_id`` and the ``settings`` hash it was made under.

    Opening takes a lock, mends a last line that was cut short, and refuses lines of other settings.
    """

    def __init__(self, path: Path, settings: str, *, fresh: bool = False, shared: bool = False) -> None:
        """
        Args:
            settings: hash of everything that a line depends on.
            fresh: discard what is there.
            shared: a file that several runs fill, and that can be made again: wait for another process that has it
                open, and discard lines of other settings, instead of refusing.

        Raises:
            RequestError: the folder can't be written, another process is at work in it, or its lines were made under
                other settings.
        """
        self.path = path
        self.settings = settings
        self.lines: dict[str, dict[str, Any]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise RequestError(f"Can't write to {path.parent}: {error.strerror}.") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise RequestError(f"Another run is writing {path}; wait for it, or name another --output.") from error
        try:
            if fresh:
                self._file.truncate(0)
            try:
                self._read()
            except RequestError:
                if not shared:
                    raise
                self._file.truncate(0)
                self.lines.clear()
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> None:
        self._file.seek(0)
        good = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break  # the process died while it wrote this
            try:
                entry = json.loads(line)
                case_id, settings = entry["case_id"], entry["settings"]
            except (ValueError, KeyError, TypeError) as error:
                raise RequestError(f"{self.path}:{number} is not a line of a journal; --fresh starts over.") from error
            if settings != self.settings:
                raise RequestError(
                    f"{self.path.parent} holds cases made with other settings, which are never mixed with these; "
                    f"name another --output, or start over with --fresh."
                )
            if case_id in self.lines:
                raise RequestError(f"{self.path}:{number} repeats case {case_id!r}; --fresh starts over.")
            self.lines[case_id] = entry
            good += len(line)
        if self._file.seek(0, os.SEEK_END) > good:
            self._file.truncate(good)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Writes one case, and returns when it is on disk."""
        case_id = entry["case_id"]
        if case_id in self.lines:
            raise XkebError(f"Case {case_id!r} is already in {self.path}.")
        line = {**entry, "settings": self.settings}
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.lines[case_id] = line

    def close(self) -> None:
        self._file.close()

    def __contains__(self, case_id: object) -> bool:
        return case_id in self.lines

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.lines.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
