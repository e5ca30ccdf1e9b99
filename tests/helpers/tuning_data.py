"""Small tunings: folders with the facts that they need and no test file, and a configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job

SMALL_MEND = {"mend.rank": 4, "mend.steps": 2, "mend.batch_size": 4, "mend.validate_every": 1, "mend.validation": 3}
MINI = Path(__file__).parents[2] / "plugins" / "datasets" / "bizsre_mini"


def records(language: str = "en") -> list[dict[str, Any]]:
    """The training records of the shipped data set."""
    name = "bizsre_mini_train.json" if language == "en" else "bizsre_mini_train_chinese.json"
    facts: list[dict[str, Any]] = json.loads((MINI / name).read_text(encoding="utf-8"))
    return facts


def write_facts(data: Path, file: str, facts: Sequence[dict[str, Any]]) -> None:
    """A file of the full data set, under its upstream name."""
    path = data / "bizsre" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(facts), ensure_ascii=False), encoding="utf-8")


@pytest.fixture
def facts_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with the training files of bizsre, made of the shipped records. Nothing else is looked into."""
    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    data = tmp_path / "data"
    write_facts(data, "zsre_mend_train_10000.json", records())
    write_facts(data, "zsre_mend_train_10000_chinese.json", records("zh"))
    return data


@pytest.fixture
def config(tiny_folders: dict[str, Path], facts_dir: Path) -> RunConfig:
    return RunConfig(
        tasks=["bizsre_en2zh"],
        models=["hf"],
        methods=["ft"],
        model_args={"path": str(tiny_folders["llama"])},
        metrics=["f1"],
        limit=4,
        device="cpu",
        data_dir=facts_dir,
    )


def replace(config: RunConfig, **changes: Any) -> RunConfig:
    values = {name: getattr(config, name) for name in RunConfig.__slots__}
    return RunConfig(**{**values, **changes})


class Jobs(RunObserver):
    """Counts the jobs that run."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []

    def job_started(self, job: Job) -> None:
        self.started.append(dict(job.options))
