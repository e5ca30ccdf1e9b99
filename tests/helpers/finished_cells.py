"""Fixtures: a finished run of two methods, and how to read the files of one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TEMPLATES = 'rome.context_templates=["In short. "]'
CELL = Path("bizsre_mini_en2zh") / "llama"
Line = dict[str, Any]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lines(folder: Path) -> list[Line]:
    return [json.loads(line) for line in (folder / "cases.jsonl").read_text(encoding="utf-8").splitlines()]


def answers(folder: Path) -> dict[str, Any]:
    """What a run found out, without how long it took, and without the checksums, which depend on that."""
    left_out = ("seconds", "chain")
    return {
        line["case_id"]: {key: value for key, value in line.items() if key not in left_out} for line in lines(folder)
    }


def scores(folder: Path) -> Any:
    return read(folder / "result.json")["scores"]


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and time of writing, but for the result, which is written at the end of each run."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "result.json")
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


@pytest.fixture(scope="session")
def finished(
    xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any]:
    """Two methods on three cases: the output folder, and what was printed. Read-only; `output` is a copy."""
    folder = tmp_path_factory.mktemp("finished") / "results"
    outcome = xkeb_cli(
        "run", "--tasks", "bizsre_mini_en2zh", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}",
        "--methods", "ft,rome", "--method-args", TEMPLATES, "--limit", "3", "--output", folder,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    return folder, outcome


@pytest.fixture
def output(finished: tuple[Path, Any], options: dict[str, str]) -> Path:
    """A copy of a finished run; `run` goes on in it."""
    options |= {"methods": "ft,rome", "method-args": TEMPLATES, "limit": "3"}
    return Path(shutil.copytree(finished[0], options["output"], copy_function=shutil.copy2))
