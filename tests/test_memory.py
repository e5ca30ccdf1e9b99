"""What a batch may take, and memory that is kept for what comes next."""

import ctypes
import resource

import pytest
import torch

from xkeb.memory import ACTIVATIONS, activations, reusing

NUMBERS = 2**24
"""Of float32: 64 MiB, above all that glibc keeps by itself."""


def faults() -> int:
    """Pages that the system makes for a large tensor."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(NUMBERS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library isn't glibc")
def test_freed_memory_is_used_again_inside_and_given_back_after_it() -> None:
    pages = 4 * NUMBERS // resource.getpagesize()
    faults()
    assert faults() >= pages // 2  # given back and made anew
    with reusing():
        faults()
        assert faults() < pages // 100
    faults()
    assert faults() >= pages // 2


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
