"""One process, one job after another; each model is loaded once."""

from __future__ import annotations

import copy
import gc
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from xkeb.editing.editor import options_of, prepare
from xkeb.errors import PluginError, RequestError, one_line
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.executors.shared_model import SharedModel, changed_model, set_aside
from xkeb.evaluation.job import Job, JobError
from xkeb.evaluation.runner import local_runner
from xkeb.evaluation.state import ProcessState
from xkeb.models.backbone import Backbone
from xkeb.models.memory import retain_freed_memory
from xkeb.models.oom import detach_traceback
from xkeb.results.result import Result
from xkeb.utils.progress import reporting_to
from xkeb.utils.secrets import without_secrets

LOG = logging.getLogger(__name__)
T = TypeVar("T")
Failed = list[tuple[Job, Exception]]


def run_jobs(jobs: Sequence[Job], config: RunConfig, observer: RunObserver | None = None) -> list[Result]:
    """Runs the jobs, in the order of the plan. One that fails doesn't stop the others.

    Raises:
        JobError: after the last job, if any failed.
    """
    watching = observer or RunObserver()

    def run_job(job: Job, backbone: Backbone, load_seconds: float) -> list[Result]:
        return local_runner(job, backbone, config, watching, load_seconds).run()

    def done(job: Job, results: Sequence[Result]) -> None:
        for result in results:
            watching.job_done(job, result)

    of_jobs, failed = _for_each(jobs, config, watching, run_job, done=done, spoilt=set_aside)
    results = [result for of_job in of_jobs for result in of_job]
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
        observer.job_configured(job, without_secrets(options_of(editor)))
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
    jobs: Sequence[Job],
    config: RunConfig,
    observer: RunObserver,
    act: Callable[[Job, Backbone, float], T],
    *,
    done: Callable[[Job, T], None] = lambda job, result: None,
    spoilt: Callable[[Job], None] = lambda job: None,
) -> tuple[list[T], Failed]:
    """What `act` gives for each job, and the jobs that failed.

    Args:
        done: called with each job that is done, and what `act` gave.
        spoilt: called for a job that didn't leave the model as it was.
    """
    results: list[T] = []
    failed: Failed = []
    for _, group in itertools.groupby(jobs, key=lambda job: job.model):
        members = list(group)
        model = SharedModel(members[0], config, observer)
        for job in members:
            model.load()
            observer.job_started(job)
            try:
                results.append(_run_apart(job, model, act, spoilt))
                done(job, results[-1])
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises costs its own job, not the night's run
                failed.append((job, detach_traceback(error)))
                observer.job_failed(*failed[-1])
        del model
        gc.collect()
    return results, failed


def _run_apart(
    job: Job, model: SharedModel, act: Callable[[Job, Backbone, float], T], spoilt: Callable[[Job], None]
) -> T:
    """What `act` gives for a job, of which nothing remains for the next one: the process is put back, and the model loaded
    again, where the job left them otherwise.

    Raises:
        PluginError: the job ended the process, or changed the model: what it measured is of a model that it had spoilt.
    """
    backbone, seconds = model.take()
    process = ProcessState()
    error: Exception | None = None
    results: list[T] = []
    try:
        results.append(act(job, backbone, seconds))
    except SystemExit as exit_:
        error = PluginError(f"Method {job.method!r} ended the process ({one_line(exit_)}); the run goes on.")
    except Exception as raised:  # noqa: BLE001 - raised below
        error = detach_traceback(raised)
    except BaseException:  # the user's, who stops the run
        if model.changed():
            spoilt(job)
        raise
    if changed := process.restore():
        LOG.warning("Method %r left %s changed; it is put back for the next job.", job.method, changed)
    if changed := model.changed():
        spoilt(job)
        raise changed_model(job, changed) from error
    if error is not None:
        raise error
    return results[0]
