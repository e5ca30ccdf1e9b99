"""What a batch may take, and memory that is kept for what comes next."""

import ctypes
import resource
from pathlib import Path

import pytest
import torch

from xkeb.memory import ACTIVATIONS, activations, reusing

NUMBERS = 2**24
"""Of float32: 64 MiB, above all that glibc keeps by itself."""


def faults() -> int:
    """Pages that the system makes for a large tensor, at the least of many times: a small block that lands in the place of the
    last one moves the next elsewhere, once."""
    made = []
    for _ in range(24):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(NUMBERS)
        made.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(made)


def resident() -> int:
    """Bytes of the process that are in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library isn't glibc")
def test_freed_memory_is_used_again_inside_and_given_back_after_it() -> None:
    n_bytes = 4 * NUMBERS
    with reusing():
        assert faults() < n_bytes // resource.getpagesize() // 100
        kept = resident()
    assert resident() < kept - n_bytes // 2


def test_a_batch_is_bounded_on_a_cpu() -> None:
    assert activations(torch.device("cpu")) == ACTIVATIONS


def test_a_batch_takes_its_share_of_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    class Card:
        total_memory = 80 * 2**30

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Card)
    assert activations(torch.device("cuda", 0)) == 16 * 2**30
    Card.total_memory = 16 * 2**30
    assert activations(torch.device("cuda", 0)) == ACTIVATIONS
