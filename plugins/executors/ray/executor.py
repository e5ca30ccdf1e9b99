"""``--executor ray``: its options, and a cluster that gets ready while the run is planned."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb_plugins.executors.ray.cluster import Cluster, import_ray, joined

if TYPE_CHECKING:
    from xkeb.evaluation.executors import Executor
    from xkeb.evaluation.job import Job
    from xkeb.results.result import Result


@dataclass(frozen=True)
class RayExecutor:
    """Ray: workers on this machine or on a cluster, each with the model; needs `pip install 'xkeb[ray]'`."""

    workers: int = 1
    gpus_per_worker: float | None = None
    """Cards of a worker, or a part of one. None: one where this machine has cards and the run may use them, or else none."""
    threads: int | None = None
    """Of torch in each worker, and the cores of a cluster that are kept for it. None: as many as this process would use."""
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

    @contextlib.contextmanager
    def opened(self, config: RunConfig) -> Iterator[Executor]:
        """Inside, the cluster starts, and its workers import what they need: both take seconds, and so does a plan.

        Raises:
            RequestError: the run names a card.
        """
        if config.device.startswith("cuda:"):
            raise RequestError(f"A worker sees its own cards only: --device cuda instead of {config.device}.")
        with ThreadPoolExecutor(1) as thread, contextlib.ExitStack() as stack:
            starting = thread.submit(lambda: stack.enter_context(self._cluster(config)))

            def run(jobs: Sequence[Job], config: RunConfig, observer: RunObserver) -> list[Result]:
                from xkeb_plugins.executors.ray.driving import run_jobs

                for job in jobs:
                    if not job.regime.is_single:
                        raise RequestError(
                            "--executor ray divides single edits among workers; "
                            f"--regime {job.regime.asked} runs without it."
                        )
                return run_jobs(jobs, config, observer, starting.result())

            try:
                yield run
            finally:
                starting.exception()  # what is started after the stack is closed would remain

    def __call__(self, jobs: Sequence[Job], config: RunConfig, observer: RunObserver) -> list[Result]:
        """Runs the jobs.

        Raises:
            RequestError: there is no such cluster, or it can't be used so.
            JobError: after the last job, if any failed.
        """
        with self.opened(config) as run:
            return run(jobs, config, observer)

    def _gpus(self, config: RunConfig) -> float:
        """Cards of a worker.

        Raises:
            RequestError: this machine has too few for a cluster of the run's own.
        """
        if self.gpus_per_worker == 0 or (self.gpus_per_worker is None and config.device == "cpu"):
            return 0
        import torch

        gpus = self.gpus_per_worker
        if gpus is None:
            gpus = float(torch.cuda.is_available())
        if self.address is None and math.ceil(self.workers * gpus) > torch.cuda.device_count():
            raise RequestError(
                f"{self.workers} workers with {gpus:g} cards each need more than this machine's {torch.cuda.device_count()}."
            )
        return gpus

    @contextlib.contextmanager
    def _cluster(self, config: RunConfig) -> Iterator[Cluster]:
        gpus = self._gpus(config)
        with joined(self.address, cpus=self.workers, gpus=math.ceil(self.workers * gpus)) as ray:
            import torch  # meanwhile the first thread has it

            threads = self.threads or torch.get_num_threads()
            cores = threads if self.address else 1  # nobody else is in a cluster of one's own
            yield Cluster(ray, self.workers, threads, cores, gpus, self.start_seconds)
