"""The jobs of a plan, one after another, each by the workers of a cluster."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence

from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.executors.interrupts import StopSignal
from xkeb.evaluation.job import Job, JobError
from xkeb.evaluation.runner import JobRunner
from xkeb.models.oom import detach_traceback
from xkeb.results.result import Result
from xkeb_plugins.executors.ray.cluster import Cluster
from xkeb_plugins.executors.ray.pool import Pool
from xkeb_plugins.executors.ray.remote_worker import software
from xkeb_plugins.executors.ray.team import RayTeam

LOG = logging.getLogger(__name__)


def run_jobs(jobs: Sequence[Job], config: RunConfig, observer: RunObserver, cluster: Cluster) -> list[Result]:
    """Runs the jobs.

    Raises:
        JobError: after the last job, if any failed.
    """
    here = software()
    results: list[Result] = []
    failed: list[tuple[Job, Exception]] = []
    with StopSignal(
        lambda: LOG.warning("Stopping: the chunks in hand are finished first; once more to leave them.")
    ) as stop:
        for _, group in itertools.groupby(jobs, key=lambda job: job.model):
            members = list(group)
            observer.model_loading(members[0].model)
            pool = Pool(cluster.ray, cluster.start, cluster.workers, cluster.start_seconds)
            try:
                for job in members:
                    observer.job_started(job)
                    try:
                        of_job = _run(RayTeam(job, pool, config, observer, stop, here), config, observer)
                    except Exception as error:  # noqa: BLE001 - whatever a plugin raises costs its own job
                        failed.append((job, detach_traceback(error)))
                        observer.job_failed(*failed[-1])
                        continue
                    results += of_job
                    for result in of_job:
                        observer.job_done(job, result)
            finally:
                pool.close()
    if failed:
        raise JobError(failed, results)
    return results


def _run(team: RayTeam, config: RunConfig, observer: RunObserver) -> list[Result]:
    """A job's results; its workers are ready for the next one, however it ended."""
    try:
        results = JobRunner(team.job, team, config, observer).run()
    except Exception:
        team.end()
        raise
    except BaseException:  # the user's, who stops the run
        if not team.busy:
            team.end()
        raise
    team.end()
    return results
