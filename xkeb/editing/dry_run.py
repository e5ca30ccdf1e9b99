"""What an editor works with in a dry run: the real code on tensors without memory, to learn what a run will need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import torch

from xkeb.models.backbone import Backbone
from xkeb.models.skeleton import Skeleton
from xkeb.types import Case

T = TypeVar("T")


class DryRunSession(Protocol):
    """A backbone without weights, and how to do in a few steps what takes many. `xkeb.estimation` has the real one."""

    backbone: Backbone
    training: Sequence[Case]
    """The facts that the method learns from."""
    batch: Sequence[Case]
    """The cases that are edited together."""
    retained: list[Any]
    """What a method holds from its learning to the end of the run; the editor appends to it."""

    @property
    def on_host(self) -> bool:
        """Whether the memory that counts is the one that files are read into, not an accelerator's own."""
        ...

    def load(self, skeleton: Skeleton, dtype: torch.dtype) -> Backbone:
        """Another model, without its weights."""
        ...

    def paused(self) -> AbstractContextManager[None]:
        """Inside, nothing is counted, and new tensors are real: for what a run doesn't do, such as building a `Skeleton`."""
        ...

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Inside, work and memory are counted for this phase: ``fit``, ``edit`` or ``evaluate``."""
        ...

    def longest(self, n: int = ...) -> Sequence[Case]:
        """The training facts with the most text: what they need is the most that any need."""
        ...

    def in_steps(self, steps: int, act: Callable[[int], T]) -> T:
        """What `act` returns, and the work of as many steps; no more than two of them are done.

        Args:
            act: does so many steps, all of them alike.
        """
        ...

    def times(self, factor: float) -> AbstractContextManager[None]:
        """Inside, work counts so many times."""
        ...
