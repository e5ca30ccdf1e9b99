"""The layers of the house: the contract holds, and it fails where an import that runs back up is put in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CIRCLE = "No circles among the modules of a package BROKEN"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages and the contract, in a folder of their own."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name, package in (("xkeb", "xkeb"), ("plugins", "xkeb_plugins"), ("tasks", "xkeb_tasks")):
        shutil.copytree(ROOT / name, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", code, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_no_import_runs_back_up_and_there_are_no_circles(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    assert "Contracts: 2 kept, 0 broken." in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "told"),
    [
        ("xkeb/models/memory.py", "from xkeb.evaluation.config import RunConfig", "xkeb.evaluation"),
        ("xkeb/utils/files.py", "from xkeb.errors import RequestError", "xkeb.errors"),
        ("xkeb/editing/changes.py", "from xkeb.leaderboard.site import tables", "xkeb.leaderboard"),
        ("xkeb/evaluation/job.py", "from xkeb_plugins.methods.ft import FineTuning", "xkeb_plugins"),
        ("xkeb/models/layout.py", "from xkeb.models.backbone import Backbone", CIRCLE),
        ("xkeb_plugins/methods/mend/network.py", "from xkeb_plugins.methods.mend.editor import Mend", CIRCLE),
    ],
)
def test_the_contract_fails_where_a_wrong_import_is_put_in(copy: Path, module: str, line: str, told: str) -> None:
    path = copy / module
    text = path.read_text(encoding="utf-8")
    marker = "from __future__ import annotations\n"
    assert marker in text
    guarded = (
        f"{marker}\nfrom typing import TYPE_CHECKING as CHECKING\n\nif CHECKING:\n    {line}\n"  # type-only ones count
    )
    path.write_text(text.replace(marker, guarded, 1), encoding="utf-8")
    done = lint(copy)
    assert done.returncode == 1, done.stdout
    package = ".".join(module.split("/")[:2])
    assert (told if told == CIRCLE else f"{package} is not allowed to import {told}:") in done.stdout
