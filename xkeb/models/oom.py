"""Running out of memory: an attempt is let go whole, so that it can be made again with less.

accelerate's ``find_executable_batch_size`` does so for a whole function. Here only the batch at hand is made again, and only
when the exception is gone, since its frames hold all that the attempt had in memory.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from xkeb.errors import XkebError, one_line

P = ParamSpec("P")
T = TypeVar("T")


class OutOfMemoryError(XkebError):
    """Memory ran out, and there is nothing left to divide."""


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """What is left of an attempt for which memory did not suffice."""

    message: str
    """The allocator's, in one line."""


def attempt(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | OutOfMemory:
    """What `act` returns, or that memory ran out; then nothing that the attempt made is alive."""
    try:
        return act(*args, **kwargs)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        message = " ".join(str(error).split())
    clear_device_cache(garbage_collection=True)
    return OutOfMemory(message)


def is_out_of_memory(error: Exception) -> bool:
    """Whether there would have been no such error with more memory."""
    known = isinstance(error, OutOfMemoryError | MemoryError | torch.OutOfMemoryError)
    has_text = len(error.args) == 1 and isinstance(error.args[0], str)  # all that accelerate can be asked about
    return known or (has_text and bool(should_reduce_batch_size(error)))


def detach_traceback(error: Exception) -> Exception:
    """The error without what its frames hold, to be kept to the end of a run; in words where memory ran out.

    Tensors of a job that failed would otherwise be missing in the next.
    """
    links: list[BaseException | None] = [error]
    seen: set[int] = set()
    while links:
        link = links.pop()
        if link is not None and id(link) not in seen:  # a stranger's exception may well be its own cause
            seen.add(id(link))
            traceback.clear_frames(link.__traceback__)
            links += [link.__cause__, link.__context__]
    if is_out_of_memory(error) and not isinstance(error, OutOfMemoryError):
        exhausted = OutOfMemoryError(f"Memory ran out: {one_line(error)}.")
        return exhausted.with_traceback(error.__traceback__)
    return error
