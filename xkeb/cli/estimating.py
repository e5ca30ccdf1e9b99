"""What the jobs of a run cost: from the cache, or by dry runs, several at a time where cores are free."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from xkeb.cli.cores import free_cores
from xkeb.editing.editor import known, options_of
from xkeb.errors import NotHereError, XkebError
from xkeb.estimation.estimator import Cost, Estimator
from xkeb.estimation.kept_costs import find_cost, keep_cost
from xkeb.estimation.repeated_layers import LayerCosts
from xkeb.evaluation.finished import code_hash
from xkeb.evaluation.job import Job
from xkeb.models.batching import saturating_tokens
from xkeb.types import Case
from xkeb.utils.hashing import digest
from xkeb.utils.processes import in_processes

WORKERS = 4
"""Most processes. Each takes some 5 seconds to begin, and 0.6 GB."""
JOBS = 2
"""Least jobs of a process for which it pays."""


@dataclass(frozen=True)
class Settings:
    """What of a run is the same for all of its jobs."""

    dtype: torch.dtype
    device: torch.device
    batch_size: int | None
    """Cases that are edited together; None for the device's own number."""


def estimate(jobs: Sequence[Job], settings: Settings, tell: Callable[[int, int, Job], None]) -> list[Cost | None]:
    """Of each job what it costs; None without its cases or its model's skeleton.

    Args:
        tell: is called before each job that isn't in the cache: how many are done, how many there are, and the job.
    """
    keys = [_key(job, settings) if job.skeleton is not None and job.cases else None for job in jobs]
    costs = [None if key is None else find_cost(key) for key in keys]
    missing = [i for i, (key, cost) in enumerate(zip(keys, costs, strict=True)) if key is not None and cost is None]
    found = _estimated([jobs[i] for i in missing], settings)
    for done, i in enumerate(missing):
        tell(done, len(missing), jobs[i])
        costs[i] = cost = next(found)
        keep_cost(known(keys[i]), cost)
    return costs


def _estimated(jobs: Sequence[Job], settings: Settings) -> Iterator[Cost]:
    act = functools.partial(_cost, settings=settings)
    workers = min(WORKERS, len(jobs) // JOBS)
    if workers < 2 or (workers := min(workers, free_cores())) < 2 or not _can_travel(jobs):
        yield from map(act, jobs)
        return
    begin = functools.partial(torch.set_num_threads, torch.get_num_threads())
    try:
        yield from in_processes(act, jobs, workers, begin, patient=False)
    except BrokenProcessPool as error:
        raise XkebError("A process that estimated jobs was killed, as the system does when memory runs out.") from error


def _can_travel(jobs: Sequence[Job]) -> bool:
    """Whether another process can be given them. A plugin may hold anything."""
    try:
        pickle.dumps(jobs)
    except Exception:  # noqa: BLE001 - whatever it is, they stay here
        return False
    return True


@functools.cache
def _layers() -> LayerCosts:
    """What is known of layers, for all dry runs of this process."""
    return LayerCosts()


ESTIMATORS: dict[str, Estimator] = {}
"""Those of this process, by what they depend on: what one has found is the same for all methods on its model."""


def _cost(job: Job, settings: Settings) -> Cost:
    """By a dry run."""
    key = digest(_asked(job, settings))
    if key not in ESTIMATORS:
        ESTIMATORS[key] = Estimator(
            known(job.skeleton),
            settings.dtype,
            device=str(settings.device),
            name=job.model,
            prompt=job.prompt,
            protocols=[one.protocol for one in job.measurements],
            costs=_layers(),
        )
    return ESTIMATORS[key].cost(job.editor, job.cases, training_of(job), settings.batch_size)


def _asked(job: Job, settings: Settings) -> dict[str, Any]:
    """What a job's cost depends on beside its method and cases: the model, and how it is asked."""
    config = known(job.skeleton).model.config
    return {
        "model": config.to_dict(),
        "tokenizer": str(config._name_or_path),
        "dtype": str(settings.dtype),
        "device": [str(settings.device), saturating_tokens(settings.device), torch.get_num_threads()],
        "prompt": job.prompt,
        "protocols": [[one.protocol.name, one.protocol.options] for one in job.measurements],
    }


def _key(job: Job, settings: Settings) -> dict[str, Any]:
    """All that the cost of a job depends on."""
    training = training_of(job)
    return {
        **_asked(job, settings),
        "method": [job.method, options_of(job.editor)],
        "batch": settings.batch_size,
        "cases": [job.task.name, job.task.test.sha256, [case.id for case in job.cases]],
        "training": [job.training_split.sha256, len(training)] if training else None,
        "code": code_hash(),
        "versions": [torch.__version__, transformers.__version__],
    }


def training_of(job: Job) -> Sequence[Case]:
    """What a method learns from, or nothing: that it is missing was found when the plan was made."""
    try:
        return job.training() if job.needs_training else ()
    except NotHereError:
        return ()
