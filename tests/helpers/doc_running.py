"""Follows a page: its blocks in order, in one folder, as a reader would."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from doc_blocks import Block, PageError

from xkeb.cli import cli, main
from xkeb.errors import XkebError
from xkeb.registry.manager import get_plugins

ROOT = Path(__file__).parents[2]
AS_PRINTED = bool(os.environ.get("XKEB_DOCS_AS_PRINTED"))
"""Whether the pages are followed to the letter, on the models that they name: ``make docs-as-printed``."""
PATIENCE = 3600 if AS_PRINTED else 120
"""Seconds that a command of the shell may take."""
_PROMPT = "$ "


class Reader:
    """Somebody in an empty folder who does what a page says.

    ``xkeb`` runs in this process, which has torch loaded already, through its entry point; ``pip install`` of a folder
    puts it where only this reader sees it; what serves until it is stopped is stopped as soon as it says where. All else
    is the shell's.
    """

    def __init__(self, folder: Path, places: dict[str, str], patch: pytest.MonkeyPatch) -> None:
        """
        Args:
            places: what stands for ``{name}`` in a mark's words.
        """
        self.places, self.patch = places, patch
        self.site = folder / ".site"
        self.names = types.ModuleType("page")
        """What the page's Python has defined so far."""
        self.output = ""
        """Of the last command."""
        patch.chdir(folder)
        patch.setitem(sys.modules, "page", self.names)  # where dataclasses look up annotations
        patch.delenv("XKEB_DATA_DIR", raising=False)  # no page may presume the real data without saying so
        patch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(self.site), os.environ.get("PYTHONPATH", "")]))
        patch.setattr(sys, "path", [str(self.site), *sys.path])

    def follow(self, block: Block) -> None:
        """Runs a block, writes the file that it is, or checks what can be checked of one that is not run.

        Raises:
            PageError: it fails.
        """
        text = block.as_run(self.places, quickly=not AS_PRINTED)
        if block.file:
            path = Path(block.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif block.language == "python":
            self._python(block, text)
        elif block.language in ("sh", "console"):
            for command in commands(text, console=block.language == "console"):
                try:
                    self._command(command) if block.runs else check_options(command)
                except PageError as error:
                    raise PageError(f"{block.place}: `{command}`: {error}") from error

    def _python(self, block: Block, text: str) -> None:
        try:
            code = compile(text, block.place, "exec")
            if block.runs:
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    exec(code, vars(self.names))
                self.output = out.getvalue()
        except Exception as error:
            raise PageError(f"{block.place}: {type(error).__name__}: {error}") from error

    def _command(self, command: str) -> None:
        words = shlex.split(command, comments=True)
        if words[0] == "cd" and len(words) == 2:
            self.patch.chdir(words[1])
        elif words[:2] == ["pip", "install"] and Path(words[-1]).is_dir():
            self._install(words[-1])
        elif words[0] == "xkeb" and not {"|", ">"} & set(words):
            self._serve(words) if "serve" in words[1:3] else self._xkeb(words)
        else:
            self._shell(command)

    def _xkeb(self, words: list[str]) -> None:
        streams = io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(streams),
            contextlib.redirect_stderr(streams),
        ):
            patch.setattr("sys.argv", words)
            try:
                main()
                status: object = 0
            except SystemExit as left:
                status = left.code or 0
        self.output = streams.getvalue()
        if status:
            raise PageError(f"exit status {status}\n{self.output}")

    def _shell(self, command: str) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        self.output = done.stdout + done.stderr
        if done.returncode:
            raise PageError(f"exit status {done.returncode}\n{self.output}")

    def _install(self, folder: str) -> None:
        options = [
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "--disable-pip-version-check",
            "--upgrade",
        ]
        self._shell(shlex.join([sys.executable, "-m", "pip", "install", *options, "--target", str(self.site), folder]))
        importlib.invalidate_caches()
        get_plugins.cache_clear()

    def _serve(self, words: list[str]) -> None:
        command = [sys.executable, "-u", "-m", "xkeb.cli", *words[1:]]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
            assert serving.stdout
            self.output = serving.stdout.readline()
            ended = serving.poll()
            serving.terminate()
        if not self.output or ended:
            raise PageError(f"it says nothing, and ends with {ended}")


@contextlib.contextmanager
def reader(folder: Path, places: dict[str, str]) -> Iterator[Reader]:
    """A reader, who leaves nothing behind in this process."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        try:
            yield Reader(folder, places, patch)
        finally:
            for name in set(sys.modules) - before:
                file = getattr(sys.modules[name], "__file__", None)
                if file and Path(file).is_relative_to(folder):
                    del sys.modules[name]
    importlib.invalidate_caches()
    get_plugins.cache_clear()


def commands(text: str, *, console: bool = False) -> list[str]:
    """The commands of a block, one string each. In a transcript they follow a prompt, and the rest is output."""
    lines = re.sub(r" *\\\n\s*(?:> )?", " ", text).splitlines()
    if console:
        lines = [line.removeprefix(_PROMPT) for line in lines if line.startswith(_PROMPT)]
    return [line for line in lines if shlex.split(line, comments=True)]


def check_options(command: str) -> None:
    """Of a command that is not run: that there is such a command or benchmark of ours, and that it takes these options."""
    words = shlex.split(command, comments=True)
    if words[0] == "python" and words[1].startswith("benchmarks/"):
        _check_benchmark(words[1], words[2:])
    if words[0] != "xkeb":
        return
    context, rest = click.Context(cli), words[1:]
    found: click.Command | None = cli
    try:
        while isinstance(found, click.Group):
            _, found, rest = found.resolve_command(context, rest)
        assert found
        found.make_context("xkeb", ["." if word == "DIR" else word for word in rest])  # a folder must be there
    except click.exceptions.Exit:
        pass  # it shows its help
    except (click.ClickException, XkebError) as error:
        raise PageError(str(error)) from error


def _check_benchmark(script: str, words: list[str]) -> None:
    path = ROOT / script
    if not path.is_file():
        raise PageError(f"there is no {script}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(path.parent), *sys.path])  # as for a script: some import one another
        main = runpy.run_path(str(path), run_name=path.stem)["main"]
    flags = {flag for parameter in main.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("-") and word.partition("=")[0] not in flags:
            raise PageError(f"{script} has no option {word}")
