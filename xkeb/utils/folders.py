"""Folders that are written whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import glob
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD of fcntl.h, and RENAME_EXCHANGE of linux/fs.h."""


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, which takes its place when the block ends without an exception.

    A reader sees the old folder or the new one: the two are exchanged in one step, where the system can do that (Linux). Where
    it can't, there is none for a moment. A link stays a link: what it leads to is replaced. What processes that were killed
    left beside the same path is removed.

    Raises:
        OSError: it can't be written.
    """
    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    for left in place.parent.glob(f".{glob.escape(place.name)}.*.part"):
        with _locked(left) as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    beside = place.with_name(f".{place.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    unlocked = beside.with_suffix(".new")  # by this name nobody takes it for left
    unlocked.mkdir()
    with _locked(unlocked):
        try:
            unlocked.rename(beside)
            yield beside
            _exchange(beside, place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Inside, the folder is locked, if nothing else has it locked and its file system can do that; tells whether it is.
    The lock ends with the process that holds it, however that ends."""
    handle, free = None, False
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    try:
        yield free
    finally:
        if handle is not None:
            os.close(handle)


def _exchange(new: Path, place: Path) -> None:
    """Puts `new` where `place` is. What stood there stands at `new` then, or nowhere."""
    if not place.exists():
        new.rename(place)
        return
    if _renameat2(new, place):
        return
    old = new.with_name(new.name.removesuffix(".part") + ".old")
    place.rename(old)
    try:
        new.rename(place)
    except OSError:
        old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _renameat2(one: Path, other: Path) -> bool:
    """Whether two paths could be exchanged in one step."""
    library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "renameat2"):
        return False
    return bool(library.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)
