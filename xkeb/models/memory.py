"""Memory: how much is free, how much a batch may take, and keeping what was freed for what comes next."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from xkeb.errors import RequestError

ACTIVATION_BYTES = 2**32
"""Bytes, see `activations`. Eight edits of a model of 7B parameters with twenty prefixes each would keep four times as many, as
much as the model itself."""

SHARE = 5
"""Of a card's memory, one part in so many, where that is more. Small batches leave a card waiting for calls of its kernels."""


def activation_budget(device: torch.device) -> int:
    """Bytes that one batch of an editor may keep for its backward pass, about."""
    if device.type == "cuda" and torch.cuda.is_available():
        return max(ACTIVATION_BYTES, torch.cuda.get_device_properties(device).total_memory // SHARE)
    return ACTIVATION_BYTES


_retaining = False
"""Whether a block of `retain_freed_memory` is open in this process, for which malloc's settings hold."""


@contextlib.contextmanager
def retain_freed_memory() -> Iterator[None]:
    """Inside, memory that is let go of stays with the process for what comes next.

    Left to itself, glibc gives large blocks back to the system at once, which then makes and clears every page of the next one
    anew: a sixth of the time of an edit where the losses are over a large vocabulary. Weights are better loaded outside: in one
    heap, what remains between them is lost. Where the C library isn't glibc, nothing happens.

    Once an allocation has failed, glibc serves the thread from another arena, where blocks above 64 MiB are mapped and given
    back as ever: a run that went on after such a failure is right, and no faster than without this. An inner block changes
    nothing: the outer one's effect lasts to its own end.

    Nothing happens either where the process holds more than is free: a 7B model on 24 GB. There, what stays between blocks in
    use was 1 to 2.4 GB, and the time was the same.
    """
    global _retaining  # noqa: PLW0603 - it is the process that retains
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt") or _retaining or _is_tight():
        yield
        return
    trim_threshold, mmap_threshold, mmap_max = -1, -3, -4  # of malloc.h
    library.mallopt(mmap_max, 0)
    library.mallopt(trim_threshold, 2**31 - 1)
    _retaining = True
    try:
        yield
    finally:
        _retaining = False
        library.mallopt(mmap_max, 2**16)  # as it is by default
        library.mallopt(mmap_threshold, 2**25)  # as far as it would move them by itself, which it no longer does
        library.mallopt(trim_threshold, 2**26)
        library.malloc_trim(0)


def _is_tight() -> bool:
    """Whether this process holds more memory than is free."""
    free = free_memory(torch.device("cpu"))
    with contextlib.suppress(OSError, ValueError):
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
        return free is not None and resident > free
    return False


def drop_pages(tensor: torch.Tensor) -> None:
    """Has the process let go of the pages of a tensor that is mapped from a file and was never written to. It can still be
    read, from the file again; other memory would lose what it holds.

    Until the last tensor of a file is gone, all pages that were read would stay: of a model in two files, half of it beside it.
    """
    if sys.platform != "linux" or not tensor.numel():
        return
    size = mmap.PAGESIZE
    first = -(-tensor.data_ptr() // size) * size  # whole pages, which it shares with no other tensor
    past = (tensor.data_ptr() + tensor.nbytes) // size * size
    if past > first:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(past - first), mmap.MADV_DONTNEED)


def check_memory(what: str, n_bytes: int, device: torch.device, hint: str) -> None:
    """Refuses at once what can't fit.

    Raises:
        RequestError: says how much is needed, how much there is, and `hint`.
    """
    free = free_memory(device)
    if free is not None and n_bytes > free:
        raise RequestError(f"{what} needs {n_bytes / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free: {hint}")


def free_memory(device: torch.device) -> int | None:
    """Free bytes where tensors of `device` live; None where the system doesn't say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
    return None
