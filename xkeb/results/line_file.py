"""A file of lines that a killed process can't damage: one writer at a time, each line on disk before the next begins."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from xkeb.errors import RequestError
from xkeb.utils.files import naming, replacing


class LineFile:
    """An append-only file of lines. Opening takes a lock, which ends with the process."""

    def __init__(self, path: Path, *, wait: bool = False, overwrite: bool = False) -> None:
        """
        Args:
            wait: for another process that has it open, instead of refusing.
            overwrite: discard what is there.

        Raises:
            RequestError: the folder can't be written, or another process is at work in the file.
        """
        self.path = path
        self._replaced: list[BinaryIO] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("a+b")
        except OSError as error:
            raise RequestError(f"Can't write to {path.parent}: {error.strerror}.") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise RequestError(f"Another process is writing {path}; wait for it, or name another --output.") from error
        if overwrite:
            self.clear()

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Each line with its number, from 1. After the last whole one, what a process left that died writing it is cut off."""
        self._file.seek(0)
        good = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            yield number, line
            good += len(line)
        if self._file.seek(0, os.SEEK_END) > good:
            self._file.truncate(good)

    def append(self, line: str) -> None:
        """Writes a line, and returns when it is on disk.

        Raises:
            OSError: it can't be written; names the file.
        """
        with naming(self.path):
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def replace(self, lines: Iterable[str]) -> None:
        """Writes the whole file anew, in one step. The old one stays locked, too, for a process that opened it just before.

        Raises:
            OSError: it can't be written, and is as it was; names the file.
        """
        with ExitStack() as undo:
            with replacing(self.path) as temporary:
                new = undo.enter_context(temporary.open("a+b"))
                fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
                new.writelines(line.encode() + b"\n" for line in lines)
                new.flush()
                os.fsync(new.fileno())
            undo.pop_all()
        self._replaced.append(self._file)
        self._file = new

    def clear(self, keep: int = 0) -> None:
        """Discards all bytes after the first `keep`."""
        self._file.truncate(keep)

    def close(self) -> None:
        """Gives up the lock.

        Raises:
            OSError: what the last `append` had left to write can't be written; names the file.
        """
        with naming(self.path):
            for file in (self._file, *self._replaced):
                file.close()
