"""``xkeb run --config``: a file in the place of options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from finished_cells import CELL, answers

pytest_plugins = ("command_line", "finished_cells")


def test_a_run_file_stands_for_the_options_and_the_command_line_wins(
    xkeb_cli: Callable[..., Any], output: Path, options: dict[str, str], tmp_path: Path
) -> None:
    values = {
        "tasks": ["bizsre_mini_en2zh"],
        "model": "hf",
        "model-args": {"path": options["model-args"].removeprefix("path=")},
        "methods": ["ft", "rome"],
        "method_args": {"rome.context_templates": ["In short. "], "ft.layer": None},
        "limit": 2,
        "output": str(tmp_path / "from file"),
        "seed": 0,
        "fresh": True,
        "device": None,  # as if it weren't there
        "batch-size": None,
        "train-size": None,
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    outcome = xkeb_cli("run", "--config", tmp_path / "run.yaml", "--limit", "3")
    assert outcome.status == 0, outcome.err
    for method in ("ft", "rome"):
        assert answers(tmp_path / "from file" / CELL / method) == answers(output / CELL / method)


def test_a_run_file_may_name_task_folders(run: Callable[..., Any], options: dict[str, str], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        text = f"task: {name}\nversion: 1\ndataset: bizsre_mini\npair: zh-en\n"
        (tmp_path / name / f"{name}.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "run.yaml").write_text(
        yaml.safe_dump({"include-path": [str(tmp_path / "one"), str(tmp_path / "two")]}), encoding="utf-8"
    )
    outcome = run("--config", tmp_path / "run.yaml", tasks="one,two")
    assert outcome.status == 0, outcome.err
    assert (Path(options["output"]) / "two" / "llama" / "ft" / "result.json").is_file()


def test_a_folder_of_that_name_does_not_hide_a_shipped_file(
    xkeb_cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper").mkdir()
    outcome = xkeb_cli("run", "--config", "paper", "--tasks", "qqqq")  # the file names the models
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("xkeb: Unknown task 'qqqq': ")


def test_a_file_of_that_name_comes_before_the_shipped_one(
    xkeb_cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper").write_text("tasks: mine\nmodel: hf\n")
    assert xkeb_cli("run", "--config", "paper").err.startswith("xkeb: Unknown task 'mine': ")
