"""Small runs by hand: a configuration, its jobs on a loaded backbone, and a method that goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from xkeb.editing.changes import Change, DenseChange
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.planning import plan_run
from xkeb.evaluation.runner import local_runner
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.results.lines import CaseRecord
from xkeb.results.result import Result
from xkeb.types import Edit

TASK = "bizsre_mini_en2zh"
FT = {"ft.lr": 0.05, "ft.steps": 3}
"""So coarse that most answers change."""


def hooks(backbone: Backbone) -> list[str]:
    return [p for p, m in backbone.model.named_modules() if m._forward_hooks or m._forward_pre_hooks]


def make_config(tiny_folders: dict[str, Path], output: Path, methods: Sequence[str], **options: Any) -> RunConfig:
    fields: dict[str, Any] = {
        "tasks": [TASK],
        "models": ["hf"],
        "methods": list(methods),
        "model_args": {"path": str(tiny_folders["llama"])},
        "device": "cpu",
        "limit": 4,
        "output": output,
        **options,
    }
    return RunConfig(**fields)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Phases(RunObserver):
    """Counts the cases of each phase."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.now = ""

    def phase_started(self, name: str, done: int = 0, total: int | None = None) -> None:
        self.now = name
        self.counts.setdefault(name, 0)

    def case_done(self, case_id: str, record: CaseRecord | None, protocol: str) -> None:
        assert (record is None) == (self.now == "before")
        self.counts[self.now] += 1


def run_jobs(backbone: Backbone, config: RunConfig, jobs: Sequence[Job] | None = None) -> tuple[list[Result], Phases]:
    """The results of some jobs, by default of all that are planned, and the cases of each phase."""
    phases = Phases()
    planned = plan_run(config).jobs if jobs is None else jobs
    return [result for job in planned for result in local_runner(job, backbone, config, phases).run()], phases


class Opaque:
    """A change that can only be applied alone, and may fail when it is used."""

    def __init__(self, name: str, fails: bool) -> None:
        self.change = DenseChange({name: torch.ones(32, 80)})
        self.fails = fails

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        with self.change.applied(backbone):
            if self.fails:
                raise ZeroDivisionError("while it was asked")
            yield


@dataclass
class Failing:
    """A third party's method that goes wrong in its second batch."""

    where: str = "edit"
    _batches: list[int] = field(default_factory=list, init=False, repr=False)

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Change]:
        self._batches.append(len(edits))
        second = len(self._batches) == 2
        name = f"{backbone.layout.down(1)}.weight"
        if second and self.where == "edit":
            with DenseChange({name: torch.ones(32, 80)}).applied(backbone):
                raise ZeroDivisionError("while it edited")
        if second and self.where == "count":
            return []
        return [Opaque(name, second and self.where == "change") for _ in edits]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> str:
    entry: Entry[type[Any]] = Entry(Failing, "tests")
    monkeypatch.setitem(get_plugins().methods.entries, "failing", entry)
    return "failing"
