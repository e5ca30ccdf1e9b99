"""The front door: a run from its configuration to its results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import Observers, RunObserver
from xkeb.evaluation.executors import Executor
from xkeb.evaluation.executors.choice import opened_executor
from xkeb.evaluation.job import Job, JobError
from xkeb.evaluation.planning import plan_run
from xkeb.registry.manager import get_plugins
from xkeb.registry.options import build_with_options
from xkeb.results.result import Result
from xkeb.tasks.asked import TEACHER_FORCING


def evaluate(
    *,
    tasks: str | Sequence[str],
    model: str | Sequence[str],
    methods: str | Sequence[str] | None = None,
    protocol: str | Sequence[str] = TEACHER_FORCING,
    limit: int | None = None,
    output: Path | str = "results",
    **options: Any,
) -> list[Result]:
    """Runs every job of ``tasks x model x methods`` and returns its result under each protocol. What is already on disk is
    not run again.

    Args:
        tasks, model, methods: names, or a single name. Without `methods`: the paper's methods for each model.
        protocol: how a model is asked; each edit is made once and asked under all of them.
        limit: the first so many cases of each task.
        output: folder of ``<task>/<model>/<method>/result.json`` and ``cases.jsonl``.
        options: any other field of `xkeb.evaluation.config.RunConfig`.

    Raises:
        RequestError: the request is wrong; nothing was run.
        JobError: some jobs failed; the others are on disk, and in its ``results``.
    """
    config = RunConfig(
        tasks=_names(tasks),
        models=_names(model),
        methods=None if methods is None else _names(methods),
        protocols=_names(protocol),
        limit=limit,
        output=Path(output),
        **options,
    )
    with opened_executor(config) as executor:
        return execute(plan_run(config).jobs, config, executor=executor)


def execute(
    jobs: Sequence[Job], config: RunConfig, observer: RunObserver | None = None, executor: Executor | None = None
) -> list[Result]:
    """Runs planned jobs.

    Args:
        observer: watches beside those that the configuration names.
        executor: of the configuration, opened. None: it is opened here.

    Raises:
        RequestError: an unknown executor or observer, or an option that it doesn't have.
        JobError: some jobs failed.
    """
    if executor is None:
        with opened_executor(config) as opened:
            return execute(jobs, config, observer, opened)
    watching = Observers([*([observer] if observer else []), *make_observers(config)])
    watching.run_started(jobs, config)
    results: Sequence[Result] = []
    failed: Sequence[tuple[Job, Exception]] = []
    try:
        results = executor(jobs, config, watching)
        return list(results)
    except JobError as error:
        results, failed = error.results, error.failed
        raise
    finally:
        watching.run_ended(results, failed)


def make_observers(config: RunConfig) -> list[RunObserver]:
    """The observers that a configuration names.

    Raises:
        RequestError: an unknown one, or an option that it doesn't have.
    """
    return [
        build_with_options("observer", name, get_plugins().observers.get(name), options)
        for name, options in config.observers.items()
    ]


def _names(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
