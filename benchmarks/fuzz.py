"""Hostile input through the command line's own entry point: a sentence and a status, no traceback, hang or half-written file.

    python benchmarks/fuzz.py --inputs 10000
    python benchmarks/fuzz.py --inputs 10000 --target journal --seed 1

A sound file is taken apart, and hypothesis puts it together otherwise: values of another kind, keys that are left out,
exchanged or repeated, texts that no terminal and no file system likes, flipped, lost and repeated bytes. What is found is
printed once for each place in the code, with the shortest input that leads there. Exit status 1 if anything is found.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import click
from fuzz_targets import Target, make_targets
from hypothesis import HealthCheck, Phase, given, seed, settings

from xkeb.cli import main as xkeb
from xkeb.cli.telling import Telling

SECONDS = 30
"""That an input may take."""


@dataclass
class Findings:
    """What was found, by the place in the code or the rule that it breaks."""

    count: int = 0
    shortest: dict[str, str] = field(default_factory=dict)

    def add(self, where: str, what: object) -> None:
        text = ascii(what)
        if where not in self.shortest or len(text) < len(self.shortest[where]):
            self.shortest[where] = text


class Hang(BaseException):
    """An input took too long."""


def _hang(number: int, frame: FrameType | None) -> None:
    raise Hang


def call(arguments: list[str]) -> tuple[int, str, str]:
    """Status and streams of a command line, in this process.

    Raises:
        BaseException: whatever comes out of it other than an exit.
    """
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        patch.object(sys, "argv", ["xkeb", *arguments]),
    ):
        try:
            xkeb()
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else int(left.code is not None)
    return status, out.getvalue(), err.getvalue()


def broken_rule(status: int, err: str, folder: Path) -> str | None:
    """What an outcome does that it shouldn't."""
    lines = err.splitlines()
    if status not in (0, 1, 2):
        return f"status {status}"
    if "Traceback" in err:
        return "a traceback"
    if status == 2 and not (len(lines) == 1 and lines[0].startswith("xkeb: ")):
        return "status 2 without one sentence"
    left = [path.name for path in folder.rglob("*") if path.name.endswith(".part")]
    return f"a half-written file is left: {left[0]}" if left else None


def try_one(target: Target, value: Any, found: Findings) -> None:
    """Runs the commands that read one input, in an empty folder."""
    found.count += 1
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        signal.alarm(SECONDS)
        try:
            for arguments in target.arguments(value, folder):
                status, _, err = call(arguments)
                if problem := broken_rule(status, err, folder):
                    found.add(f"{arguments[0]}: {problem}", (value, err[-300:]))
        except Hang:
            found.add("a hang", value)
        except Exception as error:  # noqa: BLE001 - what is looked for
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "fuzz.py" not in frame.filename]
            place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
            ours = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames if "xkeb" in frame.filename]
            found.add(f"{type(error).__name__} at {place}, by {ours[-1] if ours else place}: {error!s:.80}", value)
        finally:
            signal.alarm(0)
            os.chdir(before)


def check_sound(target: Target) -> None:
    """Sees that what is taken apart is read to its end: else nothing beyond the first refusal would ever be tried.

    Raises:
        RuntimeError: names the command, and what it said.
    """
    before = Path.cwd()
    for value in target.sound:
        with tempfile.TemporaryDirectory() as name:
            os.chdir(name)
            try:
                for arguments in target.arguments(value, Path(name)):
                    status, _, err = call(arguments)
                    if status and not (status == 2 and target.ends and target.ends in err):
                        raise RuntimeError(f"A sound input is refused by {arguments[0]}, with {status}: {err}")
            finally:
                os.chdir(before)


def fuzz(target: Target, inputs: int, number: int) -> Findings:
    """Tries so many inputs."""
    found = Findings()

    @seed(number)
    @settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def tried(value: Any) -> None:
        try_one(target, value, found)

    signal.signal(signal.SIGALRM, _hang)
    tried()
    return found


@click.command(cls=Telling)
@click.option("--inputs", default=10000, show_default=True, help="Of each target.")
@click.option("--target", "names", multiple=True, help="By default all.")
@click.option("--seed", "number", default=0, show_default=True)
def main(inputs: int, names: tuple[str, ...], number: int) -> None:
    """Try hostile inputs, and print a row for each target."""
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        targets = make_targets(Path(name), names)
        print("target\tinputs\tfindings\tseconds")
        for target_name, target in targets.items():
            started = time.perf_counter()
            check_sound(target)
            found = fuzz(target, inputs, number)
            wrong += len(found.shortest)
            print(
                f"{target_name}\t{found.count}\t{len(found.shortest)}\t{time.perf_counter() - started:.0f}", flush=True
            )
            for where, what in found.shortest.items():
                print(f"  {where}\n    {what[:600]}", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
