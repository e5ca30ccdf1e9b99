"""Memory that runs out: an attempt is let go whole, and made again with less.

accelerate's ``find_executable_batch_size`` does so for a whole function. Here only the batch at hand is made again, and only
when the exception is gone, since its frames hold all that the attempt had in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from xkeb.errors import XkebError
from xkeb.progress import Listener
from xkeb.types import Case

P = ParamSpec("P")
T = TypeVar("T")


class ShortageError(XkebError):
    """Memory ran out, and there is nothing left to divide."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """All that is left of an attempt for which memory did not suffice."""

    told: str
    """By the allocator, in one line."""


def tried(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Shortage:
    """What `act` gives, or that memory ran out; then nothing that the attempt made is alive."""
    try:
        return act(*args, **kwargs)
    except Exception as error:
        if not ran_out(error):
            raise
        shortage = Shortage(" ".join(str(error).split()))
    clear_device_cache(garbage_collection=True)
    return shortage


def ran_out(error: Exception) -> bool:
    """Whether there would have been no such error with more memory."""
    known = isinstance(error, ShortageError | MemoryError | torch.OutOfMemoryError)
    said = len(error.args) == 1 and isinstance(error.args[0], str)  # all that it can be asked about
    return known or (said and bool(should_reduce_batch_size(error)))


def in_batches(
    cases: Sequence[Case], size: int, answer: Callable[[Sequence[Case]], T], listener: Listener, *, fixed: bool
) -> Iterator[tuple[Sequence[Case], T]]:
    """Batches of at most `size` cases, each with what `answer` gives for it.

    Where memory runs out, the batch is made again with half as many cases, and so are all that follow.

    Args:
        fixed: the size was asked for, so it isn't divided.

    Raises:
        ShortageError: it ran out with one case, or with as many as were asked for.
    """
    start = 0
    while start < len(cases):
        batch = cases[start : start + size]
        answered = tried(answer, batch)
        if not isinstance(answered, Shortage):
            yield batch, answered
            start += len(batch)
        elif len(batch) == 1:
            raise ShortageError(f"Memory ran out with case {batch[0].id!r} alone: {answered.told}")
        elif fixed:
            raise ShortageError(
                f"Memory ran out with {len(batch)} cases at once, as asked for: {answered.told} "
                "A smaller --batch-size needs less; with auto, one that fits is found."
            )
        else:
            size = len(batch) // 2
            listener.smaller(size)
