"""One process, one job after another; each model is loaded once."""

from __future__ import annotations

import copy
import gc
import itertools
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from xkeb.editing.editor import options_of, prepare
from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job, JobError
from xkeb.evaluation.runner import JobRunner
from xkeb.models.backbone import Backbone
from xkeb.models.loader import load_backbone
from xkeb.models.memory import retain_freed_memory
from xkeb.models.oom import detach_traceback
from xkeb.results.schema import Result
from xkeb.utils.progress import reporting_to

T = TypeVar("T")
Failed = list[tuple[Job, Exception]]


def run_jobs(jobs: Sequence[Job], config: RunConfig, observer: RunObserver | None = None) -> list[Result]:
    """Runs the jobs, in the order of the plan. One that fails doesn't stop the others.

    Raises:
        JobError: after the last job, if any failed.
    """
    watching = observer or RunObserver()

    def run_job(job: Job, backbone: Backbone, load_seconds: float) -> Result:
        result = JobRunner(job, backbone, config, watching, load_seconds=load_seconds).run()
        watching.job_done(job, result)
        return result

    results, failed = _for_each(jobs, config, watching, run_job)
    if failed:
        raise JobError(failed, results)
    return results


def train_jobs(jobs: Sequence[Job], config: RunConfig, observer: RunObserver) -> list[tuple[Job, int, float]]:
    """Has the methods learn what a run would have them learn before its first edit, and keeps it in the cache.

    Returns:
        of each job the number of training facts, and the seconds that learning took.

    Raises:
        JobError: after the last job, if any failed.
    """

    def train_job(job: Job, backbone: Backbone, _: float) -> tuple[Job, int, float]:
        editor = copy.deepcopy(job.editor).configure(backbone.spec)  # the job's own keeps nothing of what is learned
        observer.job_configured(job, options_of(editor))
        if not editor.needs_training():
            raise RequestError(f"Method {job.method!r} learns nothing on {job.model!r} with these options.")
        facts = job.training()
        observer.phase_started("fit")
        started = time.perf_counter()
        with retain_freed_memory(), reporting_to(observer.progress):
            prepare(editor, backbone.asked_in(job.prompt), facts)
        return job, len(facts), time.perf_counter() - started

    trained, failed = _for_each(jobs, config, observer, train_job)
    if failed:
        raise JobError(failed, trained)
    return trained


def _for_each(
    jobs: Sequence[Job], config: RunConfig, observer: RunObserver, act: Callable[[Job, Backbone, float], T]
) -> tuple[list[T], Failed]:
    """What `act` gives for each job, and the jobs that failed."""
    results: list[T] = []
    failed: Failed = []
    for _, group in itertools.groupby(jobs, key=lambda job: job.model):
        members = list(group)
        backbone: Backbone | Exception
        started = time.perf_counter()
        try:
            backbone = _load(members[0], config, observer)
        except Exception as error:  # noqa: BLE001 - raised below, for each job of the model
            backbone = detach_traceback(error)
        load_seconds = time.perf_counter() - started
        for job in members:
            observer.job_started(job)
            try:
                if isinstance(backbone, Exception):
                    raise backbone
                results.append(act(job, backbone, load_seconds))
                load_seconds = 0.0
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises costs its own job, not the night's run
                failed.append((job, detach_traceback(error)))
                observer.job_failed(*failed[-1])
        del backbone
        gc.collect()
    return results, failed


def _load(job: Job, config: RunConfig, observer: RunObserver) -> Backbone:
    """The model of a job, under its display name."""
    observer.model_loading(job.model)
    name = f"{job.choice.plugin}:{job.model}"
    return load_backbone(name, device=config.device, dtype=config.dtype, **job.model_args)
