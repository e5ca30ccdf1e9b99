"""Fixtures: the command line as a user meets it. Arguments in, an exit status and two streams out.

No conftest.py, since there is one above that other tests import by that name.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from xkeb.cli import main


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


Xkeb = Callable[..., Outcome]
Options = dict[str, str]


@pytest.fixture(scope="session")
def xkeb_cli() -> Xkeb:
    """``xkeb ARGUMENTS`` through its entry point, in this process, which has torch loaded already. Streams are piped."""

    def run(*arguments: object) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setattr("sys.argv", ["xkeb", *map(str, arguments)])
            status = 0
            try:
                main()
            except SystemExit as left:
                status = left.code if isinstance(left.code, int) else int(left.code is not None)
        return Outcome(status, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def options(tiny_folders: dict[str, Path], tmp_path: Path) -> Options:
    """A run that is right: one case, one method, a tiny model."""
    return {
        "tasks": "bizsre_mini_en2zh",
        "model": "hf",
        "model-args": f"path={tiny_folders['llama']}",
        "methods": "ft",
        "limit": "1",
        "output": str(tmp_path / "results"),
    }


@pytest.fixture
def run(xkeb_cli: Xkeb, options: Options) -> Xkeb:
    """``xkeb run`` with these options but for the given ones (``model_args="path=x"``; None leaves an option out)."""

    def run(*arguments: object, **changes: str | None) -> Outcome:
        chosen = options | {name.replace("_", "-"): value for name, value in changes.items()}
        flags = [part for name, value in chosen.items() if value is not None for part in (f"--{name}", value)]
        return xkeb_cli("run", *flags, *arguments)

    return run
