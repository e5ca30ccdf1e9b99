"""What runs the jobs of a plan."""

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xkeb.evaluation.config import RunConfig
    from xkeb.evaluation.events import RunObserver
    from xkeb.evaluation.job import Job
    from xkeb.results.result import Result

Executor: TypeAlias = "Callable[[Sequence[Job], RunConfig, RunObserver], list[Result]]"
"""Runs the jobs, tells the observer, and raises a `JobError` if any failed. A plugin registers one, or a
class whose fields are its options and whose instances are one. It may have a method `opened`, see
`xkeb.evaluation.executors.choice.opened_executor`."""
