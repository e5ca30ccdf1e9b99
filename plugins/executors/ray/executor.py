"""``--executor ray``: its options, and a cluster that gets ready while the run is planned."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.executors.interrupts import StopSignal
from xkeb.results.regime import Regime
from xkeb.utils.importing import importing
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
        """Inside, an own cluster starts, and its workers import what they need: both take seconds, and so does a plan. A
        cluster that is there is joined when the plan is made.

        Raises:
            RequestError: the run names a card, or more cards than this machine has, or edits that can't be divided.
        """
        if config.device.startswith("cuda:"):
            raise RequestError(f"A worker sees its own cards only: --device cuda instead of {config.device}.")
        if config.regime is not None:
            _check_regime(Regime.parse(config.regime, config.evaluate))
        # Ray's processes end with the thread that started them, so it outlives the stack.
        with ThreadPoolExecutor(1) as thread, ExitStack() as stack, waiting_for(thread):
            early = self._start(config, stack, thread) if self.address is None else None

            def run(jobs: Sequence[Job], config: RunConfig, observer: RunObserver) -> list[Result]:
                from xkeb_plugins.executors.ray.driving import run_jobs

                for job in jobs:
                    _check_regime(job.regime)
                starting = early or self._start(config, stack, thread)
                return run_jobs(jobs, config, observer, starting.result())

            yield run

    def _start(self, config: RunConfig, stack: ExitStack, thread: ThreadPoolExecutor) -> Future[Cluster]:
        """Begins to start the workers.

        Args:
            stack: what ends the cluster; to be closed when the thread has nothing to do any more, and is still there.

        Raises:
            RequestError: see `_gpus`.
        """
        cpus, gpus = self.workers, 0 if self._without_cards(config) else None
        joining = thread.submit(lambda: stack.enter_context(joined(self.address, cpus=cpus, gpus=gpus)))
        # Where Ctrl-C ends it, and the other thread imports torch or numpy again, the process crashes.
        with StopSignal(lambda: None) as stop, importing():
            import torch

            stop.pass_on()
        threads = self.threads or torch.get_num_threads()
        cores = threads if self.address else 1  # nobody else is in a cluster of one's own
        cards = self._gpus(config)
        return thread.submit(lambda: Cluster(joining.result(), self.workers, threads, cores, cards, self.start_seconds))

    def _without_cards(self, config: RunConfig) -> bool:
        return self.gpus_per_worker == 0 or (self.gpus_per_worker is None and config.device == "cpu")

    def _gpus(self, config: RunConfig) -> float:
        """Cards of a worker.

        Raises:
            RequestError: this machine has too few for a cluster of the run's own.
        """
        if self._without_cards(config):
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
def waiting_for(thread: ThreadPoolExecutor) -> Iterator[None]:
    """Waits at the end until a thread has done all that it was given."""
    try:
        yield
    finally:
        thread.submit(lambda: None).result()


def _check_regime(regime: Regime) -> None:
    if not regime.is_single:
        raise RequestError(
            f"--executor ray divides single edits among workers; --regime {regime.asked} runs without it."
        )
