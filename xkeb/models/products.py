"""Which library makes a model's products in float32 on this processor: oneDNN, or MKL, as PyTorch would have it.

It is measured, with weights of the model's own shapes, and kept in the cache: on an AMD EPYC oneDNN is twice as fast, on an
Intel Xeon MKL by a tenth to a half, but for a large vocabulary and few rows (docs/performance.md). Both sum in float32; their
last bits differ.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from xkeb.models.memory import retain_freed_memory
from xkeb.models.onednn import PRODUCT, OneDnnLinear, Uses, onednn_product, use_onednn
from xkeb.utils.artifacts import cached_tensors
from xkeb.utils.processor import processor_name

ROWS = (8, 128)
"""Of a product of few rows, and of one of many: what is measured."""
MARGIN = 0.8
"""oneDNN is used where it takes at most this share of MKL's time: less may be chance, and would be another choice another
time."""
SMALL = 2**18
"""Weights of fewer numbers aren't measured, where a call costs more than the product; they go by `REFERENCE`."""
REFERENCE = (512, 512)
MOST_OUTPUTS = 32_768
"""Of a vocabulary, the part that is measured."""
LONG_SUM = 16_384
"""Numbers whose sum MKL rounds more coarsely, where a gradient has few rows: over 49,152 and 262,144 tokens it was up to 3e-6
and 7e-6 from float64 on an Intel Xeon, where oneDNN was 5e-7 and 6e-7. There it is oneDNN, faster or not."""
LEAST_RUNS, MOST_RUNS, SECONDS = 3, 15, 0.03
"""How often each product is made: up to so long."""
VERSION = 1
"""Of what is measured: what another kept isn't used."""


def choose_products(model: nn.Module) -> None:
    """Has the model's own linear layers use whichever library is faster for a weight of their shape; see `use_onednn`."""
    if PRODUCT is not None:
        use_onednn(model, lambda linear: faster_for((linear.out_features, linear.in_features)))


def faster_for(shape: tuple[int, int]) -> Uses:
    """What oneDNN is faster for.

    Args:
        shape: of the weight, [d_out, d_in].
    """
    d_out, d_in = shape
    measured = (min(d_out, MOST_OUTPUTS), d_in) if math.prod(shape) >= SMALL else REFERENCE
    seconds = _kept(measured, torch.get_num_threads())
    uses = Uses(*(onednn <= MARGIN * mkl for mkl, onednn in seconds))
    return uses._replace(few_back=True) if d_out > LONG_SUM else uses


def said_of(model: nn.Module) -> str:
    """The library of its products, in words: for a result."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    used = [
        use for module in linear for use in (module.uses if isinstance(module, OneDnnLinear) else Uses(*[False] * 4))
    ]
    if not any(used):
        return "PyTorch's own"
    return "oneDNN" if all(used) else f"oneDNN in {sum(used)} of {len(used)} cases, else PyTorch's own"


@functools.cache
def _kept(shape: tuple[int, int], threads: int) -> list[list[float]]:
    """What `_measured` says, kept for later processes where the cache can be written."""
    key: dict[str, Any] = {
        "processor": processor_name(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "torch": torch.__version__,
        "shape": shape,
        "version": VERSION,
    }
    try:
        kept = cached_tensors("products", key, lambda: {"seconds": _measured(shape)})["seconds"]
    except OSError:
        kept = _measured(shape)
    return [[float(number) for number in row] for row in kept]


@retain_freed_memory()
@torch.no_grad()
def _measured(shape: tuple[int, int]) -> torch.Tensor:
    """[4, 2] seconds of the four kinds of `Uses`, by MKL and by oneDNN, in turn."""
    weight = torch.ones(shape)
    rows: list[list[float]] = []
    for backward in (False, True):
        turned = weight.t() if backward else weight
        for n in ROWS:
            input = torch.ones(n, turned.shape[1])
            makers: list[Callable[[], torch.Tensor]] = [
                functools.partial(nn.functional.linear, input, turned),
                functools.partial(onednn_product, input, turned, None),
            ]
            rows.append(_least_seconds(makers))
    return torch.tensor(rows, dtype=torch.float64)


def _least_seconds(makers: list[Callable[[], torch.Tensor]]) -> list[float]:
    """Of each; the first run of each, which builds its kernel, aside."""
    least, began = [math.inf] * len(makers), time.perf_counter()
    for run in range(MOST_RUNS):
        for i, make in enumerate(makers):
            start = time.perf_counter()
            make()
            if run:
                least[i] = min(least[i], time.perf_counter() - start)
        if run >= LEAST_RUNS and time.perf_counter() - began > SECONDS:
            break
    return least
