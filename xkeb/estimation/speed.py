"""How fast a machine is, measured in a fifth of a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from xkeb.estimation.meter import Work
from xkeb.models.memory import retain_freed_memory
from xkeb.models.products import choose_products

EFFICIENCY = 0.5
"""Of the speed of one large product of matrices, what a model's many smaller ones reach."""
LARGE = 2**27
"""Bytes of what is moved to see how fast that goes: more than a processor keeps beside itself."""
TRIAL = 0.2
"""Seconds that measuring a machine's speed takes, about."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Of a machine."""

    flops: float
    """A second, in a large linear layer."""
    moved: float
    """Bytes a second, read and written."""
    overhead: float
    """Seconds that an operation takes which has next to nothing to do."""

    def seconds(self, work: Work) -> float:
        return work.flops / (EFFICIENCY * self.flops) + work.moved / self.moved + work.operations * self.overhead


@retain_freed_memory()
def measure_speed(device: torch.device, dtype: torch.dtype) -> Speed:
    """Tries what the machine does in a fifth of a second, as a run does it: in memory that it had before."""
    n = 1024 if device.type == "cpu" else 4096  # a product that is too small for a card would say how long a call takes
    one = torch.ones(n, n, device=device, dtype=dtype)
    layers = torch.nn.Sequential(torch.nn.Linear(n, n, bias=False, device=device, dtype=dtype)).requires_grad_(False)
    choose_products(layers)  # as a backbone's are
    large = torch.ones(LARGE // dtype.itemsize, device=device, dtype=dtype)
    small = torch.ones(8, device=device)
    return Speed(
        2 * n**3 * _rate(lambda: layers(one), device),
        2 * large.nbytes * _rate(large.neg, device),
        1 / _rate(small.neg, device),
    )


def _rate(act: Callable[[], Any], device: torch.device) -> float:
    """How often a second something can be done."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    act()
    wait()
    count, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < TRIAL / 3:
        for _ in range(4):
            act()
        wait()
        count += 4
    return count / spent
