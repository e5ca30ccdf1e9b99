"""Cases in batches, halved where memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from xkeb.evaluation.events import RunObserver
from xkeb.models.oom import OutOfMemory, OutOfMemoryError, attempt
from xkeb.types import Case

T = TypeVar("T")

FEWEST, MOST = 8, 32
BYTES_OF_A_CARD = 2**31
"""For each case. The most that a method keeps, a matrix of a 7B model with its gradient and moments, takes a third of it."""


def auto_batch(device: torch.device) -> int:
    """Cases edited together when ``--batch-size`` is ``auto``, as long as memory lasts.

    On a CPU more of them gain nothing. A card waits for the calls of kernels where they are few; how many it takes depends on
    its memory. An editor divides a batch itself where its backward pass would keep too much (`Backbone.activation_budget`).
    """
    if device.type != "cuda" or not torch.cuda.is_available():
        return FEWEST
    memory = torch.cuda.get_device_properties(device).total_memory
    return max(FEWEST, min(MOST, memory // BYTES_OF_A_CARD))


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, at most `size` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def run_in_batches(
    cases: Sequence[Case], size: int, answer: Callable[[Sequence[Case]], T], observer: RunObserver, *, fixed: bool
) -> Iterator[tuple[Sequence[Case], T]]:
    """Batches of at most `size` cases, each with what `answer` gives for it.

    Where memory runs out, the batch is made again with half as many cases, and so are all that follow.

    Args:
        fixed: the size was asked for, so it isn't divided.

    Raises:
        OutOfMemoryError: it ran out with one case, or with as many as were asked for.
    """
    start = 0
    while start < len(cases):
        batch = cases[start : start + size]
        answered = attempt(answer, batch)
        if not isinstance(answered, OutOfMemory):
            yield batch, answered
            start += len(batch)
        elif len(batch) == 1:
            raise OutOfMemoryError(f"Memory ran out with case {batch[0].id!r} alone: {answered.message}")
        elif fixed:
            raise OutOfMemoryError(
                f"Memory ran out with {len(batch)} cases at once, as asked for: {answered.message} "
                "A smaller --batch-size needs less; with auto, one that fits is found."
            )
        else:
            size = len(batch) // 2
            observer.batch_shrunk(size)
