"""Fixtures: real results of a tiny model, on a data set with a record that can't be asked and one that can't be edited."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from result_files import EMPTY, RECORDS, WITHOUT_SUBJECT, Runs

import xkeb

MINI = Path(__file__).parents[2] / "plugins" / "datasets" / "bizsre_mini" / "bizsre_mini_test.json"
QUICK = {
    "ft.steps": 5,
    "rome.steps": 15,
    "rome.context_templates": ["In short. "],
    "rome.mom2_adjustment": False,
}


@pytest.fixture(scope="session")
def make_runs(tiny_folders: dict[str, Path], finished_data: Path) -> Callable[..., Runs]:
    """A run on the small data set."""

    def make(output: Path, family: str = "llama", **changes: Any) -> Runs:
        methods = changes.pop("methods", ["ft", "rome"])
        options = {
            "methods": methods,
            "method_args": {key: value for key, value in QUICK.items() if key.partition(".")[0] in methods},
            "data_dir": finished_data,
            "command": "xkeb run --tasks bizsre_en2zh",
            "batch_size": 4,
        } | changes
        path = {"path": str(tiny_folders[family])}
        xkeb.evaluate(tasks="bizsre_en2zh", model="hf", model_args=path, output=output, device="cpu", **options)
        return Runs(output, finished_data, family)

    return make


@pytest.fixture(scope="session")
def finished_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data: upstream's file names, a few of the shipped records."""
    folder = tmp_path_factory.mktemp("data")
    records = json.loads(MINI.read_text(encoding="utf-8"))[:RECORDS]
    records[EMPTY]["zh"]["alt"] = ""
    records[WITHOUT_SUBJECT]["en"]["subject"] = "somebody else"
    (folder / "bizsre").mkdir()
    (folder / "bizsre" / "bizsre_test.json").write_text(json.dumps(records), encoding="utf-8")
    (folder / "bizsre" / "zsre_mend_train_10000.json").write_bytes(
        MINI.with_name("bizsre_mini_train.json").read_bytes()
    )
    return folder


@pytest.fixture(scope="session")
def finished_runs(make_runs: Callable[..., Runs], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Read-only; `runs` is a copy."""
    return make_runs(tmp_path_factory.mktemp("finished_runs"))


@pytest.fixture
def runs(finished_runs: Runs, tmp_path: Path) -> Runs:
    return Runs(Path(shutil.copytree(finished_runs.output, tmp_path / "runs")), finished_runs.data)
