"""How far a run is, over all of its jobs, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xkeb.evaluation.job import Job

Kind = tuple[str, str]
"""Model and method: what a case's time depends on most."""


@dataclass
class _Pace:
    """Of the cases of one kind that this run has edited."""

    cases: int = 0
    seconds: float = 0.0


@dataclass
class RunProgress:
    """Counts jobs and cases. What is left is worked out from the seconds that a case of each model and method took so far;
    of one that hasn't begun, from those of the others. Loading and learning are not foreseen."""

    cases: dict[str, int]
    """Of each job that isn't done, by its name: cases that are still to be edited."""
    kinds: dict[str, Kind]
    total: int
    """Cases of all jobs."""
    jobs: int
    now: Callable[[], float] = time.monotonic
    number: int = 0
    """Of the job that runs, from 1."""
    _name: str = ""
    _since: float | None = None
    """When the last batch was done, or the edits of the job began; None outside the edits."""
    _paces: dict[Kind, _Pace] = field(default_factory=dict)

    @classmethod
    def of(cls, jobs: Sequence[Job], now: Callable[[], float] = time.monotonic) -> RunProgress:
        left = {job.name: len(job.cases) * len(job.measurements) for job in jobs}  # as the runner counts them
        kinds = {job.name: (job.model, job.method) for job in jobs}
        return cls(left, kinds, sum(left.values()), len(jobs), now)

    @property
    def done(self) -> int:
        """Cases that are done, those of an earlier run and of jobs that failed included."""
        return self.total - sum(self.cases.values())

    def job_started(self, name: str) -> None:
        self.number += 1
        self._name, self._since = name, None

    def edits_started(self, left: int) -> None:
        """The job that runs begins to edit; so many of its cases aren't done."""
        self.cases[self._name] = left
        self._since = self.now()

    def case_done(self) -> None:
        """One case of the job is on disk. The cases of a batch end together."""
        if self._since is None:
            return
        self.cases[self._name] = max(self.cases[self._name] - 1, 0)
        pace = self._paces.setdefault(self.kinds[self._name], _Pace())
        now = self.now()
        pace.cases, pace.seconds, self._since = pace.cases + 1, pace.seconds + now - self._since, now

    def job_ended(self) -> None:
        self.cases.pop(self._name, None)
        self._since = None

    def seconds_left(self) -> float | None:
        """None before the first case is done."""
        cases, seconds = (sum(getattr(pace, name) for pace in self._paces.values()) for name in ("cases", "seconds"))
        if not cases:
            return None
        left = 0.0
        for name, count in self.cases.items():
            pace = self._paces.get(self.kinds[name], _Pace(cases, seconds))
            whole = count * pace.seconds / pace.cases
            spent = self.now() - self._since if name == self._name and self._since is not None else 0.0
            left += max(whole - spent, 0.0)
        return left


def in_words(seconds: float) -> str:
    """A time to come, in a unit that fits."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
