"""What a job of a cluster runs: a command in a process of its own, which goes on where it was when Slurm starts it again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from xkeb.errors import optional_import

PATIENCE = 60
"""Seconds in which a command that is asked to stop ends: Slurm gives 90 from its first signal on."""
_DEAF_TO_USR2 = 'trap "" USR2 && exec "$@"'
"""Slurm sends the signal that a job is about to be stopped to all of its processes; it is meant for this one, which asks the
command to stop in order."""


class Launched:
    """``xkeb`` with some arguments, as submitit calls it."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = list(arguments)
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Runs the command.

        Raises:
            RuntimeError: it failed; what it said stands in the job's log.
        """
        command = [sys.executable, "-m", "xkeb.cli", *self.arguments]
        self._process = subprocess.Popen(["/bin/sh", "-c", _DEAF_TO_USR2, "sh", *command])
        status = self._process.wait()
        if status:
            raise RuntimeError(f"xkeb {self.arguments[0]} ended with status {status}.")

    def checkpoint(self) -> Any:
        """Called by submitit when the job's time is up, or a job of more importance needs its place: the same command once
        more, which goes on from the last case."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
        submitit = optional_import("submitit", "slurm", "xkeb submit")
        return submitit.helpers.DelayedSubmission(Launched(self.arguments))
