"""What a run tells whoever watches it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xkeb.results.lines import CaseRecord
from xkeb.results.result import Result
from xkeb.types import Case

if TYPE_CHECKING:
    from xkeb.evaluation.config import RunConfig
    from xkeb.evaluation.job import Job

LOG = logging.getLogger(__name__)


class RunObserver:
    """Watches a run. Every method is called as its name says; these do nothing, so that a subclass has only what it needs.

    A plugin registers a subclass by the hook ``register_observers``; its constructor's arguments are its options. What an
    observer raises costs the observer, not the run.
    """

    def run_started(self, jobs: Sequence[Job], config: RunConfig) -> None:
        """The plan is made; nothing is loaded yet."""

    def model_loading(self, name: str) -> None:
        """A backbone is being loaded."""

    def job_started(self, job: Job) -> None: ...

    def job_configured(self, job: Job, options: Mapping[str, Any]) -> None:
        """The model is there; `options` are all of the method's, as the result keeps them."""

    def phase_started(self, name: str, done: int = 0, total: int | None = None) -> None:
        """A phase of the job begins: ``before``, ``fit`` or ``edit``; `total` cases, `done` of them from an earlier run. Of
        ``edit``, each case counts once for each protocol; ``before`` begins anew for each."""

    def progress(self, what: str, done: int, total: int) -> None:
        """So many steps of a method's learning are done, or so many edits of a sequence; `what` says in a few words what is
        done, and how well."""

    def batch_done(self, cases: Sequence[Case], seconds: Mapping[str, float]) -> None:
        """A batch of cases is edited and asked; `seconds` of ``edit`` and ``evaluate``, for one case."""

    def batch_shrunk(self, size: int) -> None:
        """Memory ran out: from here on no more than `size` cases of the job are edited together."""

    def case_done(self, case_id: str, record: CaseRecord | None, protocol: str) -> None:
        """One more case of the phase is on disk; `record` is its line in cases.jsonl, None before the edits."""

    def job_done(self, job: Job, result: Result) -> None:
        """Called for each protocol of the job."""

    def job_failed(self, job: Job, error: Exception) -> None:
        """A job could not be finished; the run goes on with the next."""

    def run_ended(self, results: Sequence[Result], failed: Sequence[tuple[Job, Exception]]) -> None:
        """After the last job, also where the run is interrupted."""


class Observers(RunObserver):
    """Several observers as one. One that raises is left out from then on, with a warning in the log."""

    def __init__(self, observers: Sequence[RunObserver]) -> None:
        self.observers = list(observers)

    def _tell(self, call: Callable[[RunObserver], None]) -> None:
        for observer in list(self.observers):
            try:
                call(observer)
            except (Exception, SystemExit):  # a stranger's code, which must not cost the run
                LOG.warning("%s is left out of the rest of the run.", type(observer).__name__, exc_info=True)
                self.observers.remove(observer)

    def run_started(self, jobs: Sequence[Job], config: RunConfig) -> None:
        self._tell(lambda observer: observer.run_started(jobs, config))

    def model_loading(self, name: str) -> None:
        self._tell(lambda observer: observer.model_loading(name))

    def job_started(self, job: Job) -> None:
        self._tell(lambda observer: observer.job_started(job))

    def job_configured(self, job: Job, options: Mapping[str, Any]) -> None:
        self._tell(lambda observer: observer.job_configured(job, options))

    def phase_started(self, name: str, done: int = 0, total: int | None = None) -> None:
        self._tell(lambda observer: observer.phase_started(name, done, total))

    def progress(self, what: str, done: int, total: int) -> None:
        self._tell(lambda observer: observer.progress(what, done, total))

    def batch_done(self, cases: Sequence[Case], seconds: Mapping[str, float]) -> None:
        self._tell(lambda observer: observer.batch_done(cases, seconds))

    def batch_shrunk(self, size: int) -> None:
        self._tell(lambda observer: observer.batch_shrunk(size))

    def case_done(self, case_id: str, record: CaseRecord | None, protocol: str) -> None:
        self._tell(lambda observer: observer.case_done(case_id, record, protocol))

    def job_done(self, job: Job, result: Result) -> None:
        self._tell(lambda observer: observer.job_done(job, result))

    def job_failed(self, job: Job, error: Exception) -> None:
        self._tell(lambda observer: observer.job_failed(job, error))

    def run_ended(self, results: Sequence[Result], failed: Sequence[tuple[Job, Exception]]) -> None:
        self._tell(lambda observer: observer.run_ended(results, failed))
