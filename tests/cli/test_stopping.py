"""SIGTERM, SIGHUP and Ctrl-C end a run with a sentence on how to go on, and the status that says which it was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ("command_line",)


HEEDING = "import os, signal, sys; [signal.signal(n, 0) for n in (1, 2, 15)]; os.execvp(sys.argv[1], sys.argv[1:])"
"""Runs a command that heeds every signal, whatever these tests themselves were told to ignore: SIG_DFL is 0."""


def start(options: dict[str, str], *before: str) -> subprocess.Popen[str]:
    """``xkeb run`` in a process of its own, from the moment that its first case is on disk."""
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    command = [sys.executable, "-c", HEEDING, *before, sys.executable, "-m", "xkeb.cli", "run", *flags]
    command += ["--log-events", "/dev/stdout"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if (
            line.startswith("{")
            and (event := json.loads(line)).get("phase") == "edit"
            and event["event"] == "case_done"
        ):
            break
    return process


@pytest.fixture
def long(options: dict[str, str]) -> dict[str, str]:
    """A run that would take minutes."""
    return options | {"method-args": "ft.steps=100,ft.stop_loss=0", "limit": "50", "batch-size": "1", "device": "cpu"}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_run_that_is_stopped_says_how_to_go_on(
    run: Callable[..., Any], long: dict[str, str], number: signal.Signals, status: int
) -> None:
    process = start(long)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == status, told
    assert told.splitlines()[-1] == "xkeb: stopped; the same command goes on from here."
    assert "Traceback" not in told
    done = (Path(long["output"]) / "bizsre_mini_en2zh" / "llama" / "ft" / "cases.jsonl").read_text(encoding="utf-8")
    assert 1 <= len(done.splitlines()) < 50


def test_a_signal_that_is_ignored_stays_so(options: dict[str, str]) -> None:
    """As ``nohup`` has it."""
    options |= {"limit": "4", "batch-size": "1", "method-args": "ft.steps=30,ft.stop_loss=0", "device": "cpu"}
    process = start(options, "sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    process.send_signal(signal.SIGHUP)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
