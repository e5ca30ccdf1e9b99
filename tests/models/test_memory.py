"""What a batch may take, and memory that is kept for what comes next."""

import ctypes
import subprocess
import sys

import pytest
import torch

from xkeb.models import memory
from xkeb.models.memory import ACTIVATION_BYTES, activation_budget, retain_freed_memory

OF_A_LARGE_TENSOR = """
import resource
from pathlib import Path
import torch
from xkeb.models.memory import retain_freed_memory

def pages():
    # The least of many times: a small block in the place of the last tensor moves the next one elsewhere, once.
    made = []
    for _ in range(24):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(2**24)
        made.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(made)

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

print(pages())
with retain_freed_memory():
    print(pages())
    for _ in range(2):
        with retain_freed_memory():
            print(pages())
    print(pages())
    print(resident())
print(resident())
"""
"""Pages that the system makes for one: before the block, in it, in blocks inside it, and in it after those; bytes of the
process in memory, in the block and after it. In a process of its own: once an allocation has failed in this one, as tests of
running out of memory have it, glibc keeps nothing so large."""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library isn't glibc")
def test_freed_memory_is_used_again_inside_and_given_back_after_it() -> None:
    ran = subprocess.run([sys.executable, "-c", OF_A_LARGE_TENSOR], check=True, capture_output=True, text=True)
    before, inside, inner, again, between, kept, left = map(int, ran.stdout.split())
    assert max(inside, inner, again, between) < before // 10
    assert left < kept - 2**25  # half of the tensor's 64 MiB, which are above all that glibc keeps by itself


def test_a_block_inside_another_sets_nothing_and_takes_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Library:
        def mallopt(self, parameter: int, value: int) -> None:
            told.append("set")

        def malloc_trim(self, pad: int) -> None:
            told.append("given back")

    monkeypatch.setattr("xkeb.models.memory.ctypes.CDLL", lambda name: Library())
    monkeypatch.setattr("xkeb.models.memory.sys.platform", "linux")
    with retain_freed_memory():
        opened = list(told)
        with retain_freed_memory(), retain_freed_memory():
            pass
        with pytest.raises(ZeroDivisionError), retain_freed_memory():
            1 / 0  # noqa: B018
        assert told == opened != []
    assert told[-1] == "given back" and told.count("given back") == 1
    with pytest.raises(ZeroDivisionError), retain_freed_memory():
        1 / 0  # noqa: B018
    assert told.count("given back") == 2


@pytest.mark.parametrize(("free", "retained"), [(2**50, True), (2**20, False)], ids=["room", "tight"])
def test_nothing_is_kept_where_the_process_holds_more_than_is_free(
    free: int, retained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    class Library:
        def mallopt(self, parameter: int, value: int) -> None:
            told.append(parameter)

        def malloc_trim(self, pad: int) -> None: ...

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library())
    monkeypatch.setattr(memory, "free_memory", lambda device: free)
    monkeypatch.setattr(sys, "platform", "linux")
    with retain_freed_memory():
        assert bool(told) is retained


def test_a_batch_is_bounded_on_a_cpu() -> None:
    assert activation_budget(torch.device("cpu")) == ACTIVATION_BYTES


def test_a_batch_takes_its_share_of_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    class Card:
        total_memory = 80 * 2**30

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Card)
    assert activation_budget(torch.device("cuda", 0)) == 16 * 2**30
    Card.total_memory = 16 * 2**30
    assert activation_budget(torch.device("cuda", 0)) == ACTIVATION_BYTES
