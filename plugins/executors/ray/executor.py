"""``--executor ray``: the jobs of a plan, one after another, each by many workers."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.executors.interrupts import StopSignal
from xkeb.evaluation.job import Job, JobError
from xkeb.evaluation.runner import JobRunner
from xkeb.models.oom import detach_traceback
from xkeb.results.result import Result
from xkeb_plugins.executors.ray.cluster import import_ray, joined, worker_environment
from xkeb_plugins.executors.ray.pool import Pool
from xkeb_plugins.executors.ray.remote_worker import RemoteWorker, software
from xkeb_plugins.executors.ray.team import RayTeam

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RayExecutor:
    """Ray: workers on this machine or on a cluster, each with the model; needs `pip install 'xkeb[ray]'`."""

    workers: int = 1
    gpus_per_worker: float | None = None
    """Cards of a worker, or a part of one. None: one where this machine has cards and the run may use them, or else none."""
    threads: int | None = None
    """Of torch in each worker, and the cores that are kept for it. None: as many as this process would use."""
    address: str | None = None
    """Of a cluster that is there; ``auto`` on one of its machines. None: one of the run's own, on this machine."""
    start_seconds: float = 600.0
    """In which a worker must have loaded the model."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"it needs at least 1 worker, not {self.workers}.")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"a worker needs at least 1 thread, not {self.threads}.")
        gpus = self.gpus_per_worker
        if gpus is not None and (gpus < 0 or (gpus > 1 and gpus != int(gpus))):
            raise ValueError(f"gpus_per_worker is a part of one card or a whole number of them, not {gpus:g}.")
        if not self.start_seconds > 0:
            raise ValueError(f"start_seconds must be above 0, not {self.start_seconds:g}.")
        import_ray()

    def __call__(self, jobs: Sequence[Job], config: RunConfig, observer: RunObserver) -> list[Result]:
        """Runs the jobs.

        Raises:
            RequestError: there is no such cluster, or it can't be used so.
            JobError: after the last job, if any failed.
        """
        for job in jobs:
            if not job.regime.is_single:
                raise RequestError(
                    f"--executor ray divides single edits among workers; --regime {job.regime.asked} runs without it."
                )
        threads = self.threads or torch.get_num_threads()
        gpus = self._gpus(config)
        if self.address is None and math.ceil(self.workers * gpus) > torch.cuda.device_count():
            raise RequestError(
                f"{self.workers} workers with {gpus:g} cards each need more than this machine's {torch.cuda.device_count()}."
            )
        if config.device.startswith("cuda:"):
            raise RequestError(f"A worker sees its own cards only: --device cuda instead of {config.device}.")
        here = software()
        results: list[Result] = []
        failed: list[tuple[Job, Exception]] = []
        with (
            joined(self.address, cpus=self.workers * threads, gpus=math.ceil(self.workers * gpus)) as ray,
            StopSignal(
                lambda: LOG.warning("Stopping: the chunks in hand are finished first; once more to leave them.")
            ) as stop,
        ):
            actor = ray.remote(RemoteWorker).options(
                num_cpus=threads,
                num_gpus=gpus,
                max_restarts=0,  # what a worker had in hand is given to another by the driver, which knows what is done
                max_task_retries=0,
                runtime_env={"env_vars": worker_environment(threads, gpus)},
            )

            def start() -> Any:
                return actor.remote(threads)

            for _, group in itertools.groupby(jobs, key=lambda job: job.model):
                members = list(group)
                observer.model_loading(members[0].model)
                pool = Pool(ray, start, self.workers, self.start_seconds)
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

    def _gpus(self, config: RunConfig) -> float:
        if self.gpus_per_worker is not None:
            return self.gpus_per_worker
        return float(config.device != "cpu" and torch.cuda.is_available())


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
