"""Fixtures: the wheel, and clean environments in which nothing of ours is but the wheel, away from the checkout.

The libraries that it depends on are taken from the environment that the tests run in; what is installed there in editable
mode isn't seen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_SHIPPED = ("__pycache__", "*.pyc", ".*", "build", "*.egg-info")
PIP = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")


def build(source: Path, target: Path) -> Path:
    """The wheel of a source tree, which setuptools leaves files in."""
    subprocess.run([sys.executable, "-m", "pip", "wheel", *PIP, "--wheel-dir", target, source], check=True)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wheel is built from, in a copy, since setuptools takes in what it finds beside it."""
    copy = tmp_path_factory.mktemp("copy")
    for folder in ("xkeb", "plugins", "tasks", "leaderboard"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns(*NOT_SHIPPED))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="session")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(sources, tmp_path_factory.mktemp("wheel"))


@dataclass(frozen=True)
class Clean:
    """An environment, and an empty folder to work in."""

    bin: Path
    folder: Path

    def install(self, *what: str | Path) -> None:
        """With pip, from files alone."""
        python = self.bin / "python"
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", python, "install", *PIP, *what], check=True, cwd=self.folder
        )

    def run(
        self, *command: object, cwd: Path | None = None, path: Path | None = None, timeout: int = 300
    ) -> subprocess.CompletedProcess[str]:
        """A command of the environment.

        Args:
            path: one more folder that modules are found in.
        """
        inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        return subprocess.run(
            [str(self.bin / str(command[0])), *map(str, command[1:])],
            env={
                **inherited,
                "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
                **({"PYTHONPATH": str(path)} if path else {}),
            },
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture(scope="session")
def clean_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Clean]:
    """Makes environments of their own that hold the wheel."""

    def make() -> Clean:
        place = tmp_path_factory.mktemp("environment")
        venv.create(place, with_pip=False, symlinks=True)
        site = sysconfig.get_path("purelib", "venv", {"base": str(place), "platbase": str(place)})
        libraries = sysconfig.get_path("purelib")
        # A plain line in a .pth file is put on the path, and no .pth file in there is followed: no editable install.
        (Path(site) / "libraries.pth").write_text(f"{libraries}\n", encoding="utf-8")
        clean = Clean(place / "bin", tmp_path_factory.mktemp("elsewhere"))
        clean.install(wheel)
        # The command that those libraries bring, run by this environment's interpreter.
        (clean.bin / "pytest").write_text(f'#!/bin/sh\nexec "{clean.bin / "python"}" -m pytest "$@"\n')
        (clean.bin / "pytest").chmod(0o755)
        return clean

    return make
