"""``--executor NAME``: what runs the jobs of a plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.executors.local import run_jobs
from xkeb.evaluation.job import Job
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.results.result import Result

pytest_plugins = ("command_line",)


def test_one_that_a_plugin_registers_is_used(
    run: Callable[..., Any], options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[list[str], str]] = []

    def elsewhere(jobs: Sequence[Job], config: RunConfig, observer: RunObserver) -> list[Result]:
        given.append(([job.method for job in jobs], config.executor))
        return run_jobs(list(reversed(jobs)), config, observer)

    monkeypatch.setitem(get_plugins().executors.entries, "elsewhere", Entry(elsewhere, "tests"))
    outcome = run(
        "--executor", "elsewhere", methods="ft,rome", method_args='rome.steps=1,rome.context_templates=["So. "]'
    )
    assert outcome.status == 0, outcome.err
    assert given == [(["ft", "rome"], "elsewhere")]
    told = [line.split(":")[0].split(" / ")[2] for line in outcome.err.splitlines() if " cases in " in line]
    assert told == ["rome", "ft"]
    assert len(list(Path(options["output"]).rglob("result.json"))) == 2


def test_one_that_is_not_there_is_refused_with_the_nearest_before_anything_is_done(
    run: Callable[..., Any], options: dict[str, str]
) -> None:
    outcome = run("--executor", "lokal")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == "xkeb: Unknown executor 'lokal': did you mean 'local'?\n"
    assert not Path(options["output"]).exists()
