"""A checkout of EasyEdit's repository: where its package is, and which version it is."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
from pathlib import Path

from xkeb.errors import RequestError
from xkeb_plugins.methods.easyeditor.package import ALIAS, PACKAGE, Code

REPOSITORY = "https://github.com/zjunlp/EasyEdit"


def checkout(path: str) -> Code:
    """The code of a checkout, the same each time in a process: what is imported of it is what it was when it was first asked
    for.

    Raises:
        RequestError: there is none.
    """
    return _checkout(Path(path).expanduser().resolve(), path)


@functools.cache
def _checkout(folder: Path, called: str) -> Code:
    root = folder / PACKAGE
    if not (root / "models").is_dir():
        problem = f"it has no folder {PACKAGE}/models" if folder.is_dir() else "there is no such folder"
        raise RequestError(f"{called} is no checkout of EasyEdit ({REPOSITORY}): {problem}.")
    version = _commit(folder) or hash_code(root)
    short = version if version.startswith(HASHED) else version[:12]
    return Code(f"EasyEdit at {short}", f"{ALIAS}_{version.removeprefix(HASHED)}", root, version)


HASHED = "sha256:"
"""Stands before a version that is a hash of files."""


def hash_code(root: Path) -> str:
    """Over the names and the text of all Python files below a folder, in the order of their names."""
    state = hashlib.sha256()
    for file in sorted(root.rglob("*.py"), key=lambda file: file.relative_to(root).as_posix()):
        content = file.read_bytes()
        state.update(f"{file.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return HASHED + state.hexdigest()


def files_of(root: Path) -> list[Path]:
    """The Python files below a folder, and the folders that hold them."""
    files = sorted(root.rglob("*.py"))
    return [*files, *dict.fromkeys(file.parent for file in files)]


def _commit(folder: Path) -> str | None:
    """The commit of a work tree whose Python files are as committed; None where git can't tell, as of an archive's files, which
    may lie in a work tree of something else."""
    try:
        if Path(_git(folder, "rev-parse", "--show-toplevel")).resolve() != folder:
            return None
        if _git(folder, "status", "--porcelain", "--untracked-files=all", "--", f"{PACKAGE}/*.py"):
            return None
        return _git(folder, "rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    """What git says in a folder, whatever repository it was told to work in."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment,
    )
    return done.stdout.strip()
