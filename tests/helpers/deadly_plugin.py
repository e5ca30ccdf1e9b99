"""Fixture: an installed plugin whose methods and model end the process that they run in, as a lost machine would."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from installed_packages import command

SOURCE = '''
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import xkeb


@dataclass(frozen=True)
class Deadly(xkeb.Editor):
    """Deadly: kills its process with the edit of a subject, so many times; and once with that of another."""

    subject: str = ""
    also: str = ""
    marks: str = ""
    times: int = 0

    def edit(self, backbone, edits):
        subjects = [edit.subject for edit in edits]
        if self.subject in subjects:
            kills = len(list(Path(self.marks).glob("[0-9]*")))
            if kills < self.times:
                (Path(self.marks) / str(kills)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if self.also in subjects and not (Path(self.marks) / "also").exists():
            (Path(self.marks) / "also").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [xkeb.ContextChange(f"{edit.subject}. ") for edit in edits]


class Deadlier(Deadly):
    """Deadlier: the same under another name."""


class Unloadable:
    """Unloadable: kills the process that loads it."""

    def load(self, device, dtype):
        os.kill(os.getpid(), signal.SIGKILL)


@xkeb.hookimpl
def register_editors(register):
    register("deadly", Deadly)
    register("deadlier", Deadlier)


@xkeb.hookimpl
def register_backbones(register):
    register("unloadable", Unloadable)
'''

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def with_deadly(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``xkeb ARGUMENTS`` with the plugin, in a process of its own."""
    folder = tmp_path_factory.mktemp("deadly")
    (folder / "deadly.py").write_text(SOURCE, encoding="utf-8")
    about = folder / "deadly-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[xkeb]\ndeadly = deadly\n")
    return lambda *arguments: command(folder, *map(str, arguments))
