"""What runs the jobs of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from xkeb.evaluation.config import RunConfig
    from xkeb.evaluation.events import RunObserver
    from xkeb.evaluation.job import Job
    from xkeb.results.result import Result

Executor: TypeAlias = "Callable[[Sequence[Job], RunConfig, RunObserver], list[Result]]"
"""Runs the jobs, tells the observer, and raises a `JobError` if any failed. A plugin registers one, or a
class whose fields are its options and whose instances are one, or have one opened."""


@runtime_checkable
class OpenedExecutor(Protocol):
    """What needs something for as long as a run takes."""

    def opened(self, config: RunConfig) -> AbstractContextManager[Executor]:
        """The executor, inside of what it needs. A run is entered before it is planned, so it can get ready meanwhile. What is
        inside is called with the jobs, or never, where the plan is refused."""
        ...
