"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IN_RUST = re.compile(r"\(os error (\d+)\)")
"""How Rust's errors of the system end."""
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its place when the block ends without an exception.

    A reader sees the old file or the new one, never a part. The file gets the permissions that the umask gives, so a
    group that shares a folder can read it.

    Raises:
        OSError: it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    try:
        temporary.touch(exist_ok=False)
        permissions = temporary.stat().st_mode & 0o777
        with naming(path):
            yield temporary
        temporary.chmod(permissions)  # some libraries put a file of their own there, which only its owner can read
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Inside, an error of the system that names no file, such as a full disk's, names this one. So does one that a library in
    Rust, such as safetensors, tells as an error of its own.

    Raises:
        OSError: what such a library told.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.strerror:
            error.filename = str(path)
        raise
    except Exception as error:
        told = IN_RUST.search(str(error))
        if told and (number := int(told[1])) in UNWRITABLE:
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def write_atomically(path: Path, text: str) -> None:
    """Replaces a text file in one step.

    Raises:
        OSError: it can't be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path, name: str) -> None:
    """Removes what processes that were killed left of files and folders whose names begin with `name` and a dot: only where
    none can be at work on them."""
    for part in folder.glob(f".{glob.escape(name)}.*.part"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
