"""SERAC with networks of a few steps, and what it leaves in the cache."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xkeb
from xkeb.editing.editor import prepare
from xkeb.evaluation.events import RunObserver
from xkeb.models.backbone import Backbone
from xkeb.types import Case

SHORT: dict[str, Any] = {
    "lr": 1e-2,
    "classifier_lr": 3e-3,
    "steps": 6,
    "validate_every": 2,
    "batch_size": 4,
    "accumulate": 2,
    "validation": 4,
}


def fitted(backbone: Backbone, training: Sequence[Case], options: Mapping[str, Any]) -> Any:
    return prepare(xkeb.load_editor("serac", **options), backbone, training)


def artifacts(cache: Path) -> dict[str, Path]:
    """The trained files, by network; there is one of each."""
    return {
        kind: path for kind in ("serac-scope", "serac-counterfactual") for path in (cache / kind).glob("*.safetensors")
    }


def log_of(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]


class Heard(RunObserver):
    """Keeps what it hears of learning, and stops it at a given step."""

    def __init__(self, stop: tuple[str, int] | None = None) -> None:
        self.steps: list[tuple[str, int]] = []
        self.stop = stop

    def progress(self, what: str, done: int, total: int) -> None:
        self.steps.append((what.partition(",")[0], done))
        if self.steps[-1] == self.stop:
            raise KeyboardInterrupt
