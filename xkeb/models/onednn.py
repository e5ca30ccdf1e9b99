"""The products of a model in float32 on a CPU, by oneDNN.

PyTorch leaves them to MKL, which on AMD's processors runs at less than half of what the core can do. oneDNN, which comes with
PyTorch as well, has kernels made for the processor that it finds; its sums are float32 like the others (docs/performance.md).
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

PRODUCT = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
"""oneDNN's; None where PyTorch was built without it."""

CACHED_KERNELS = 128
"""Kernels that are kept, each for one shape of one product. A pass needs a dozen. The libraries' own choice is 1,024: texts of
all lengths filled them with some 5 MB a case, until a process had grown by gigabytes."""
CAPACITIES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Where oneDNN, and PyTorch's layer above it, read how many to keep: at their first product, and never again."""


class OneDnnLinear(nn.Linear):
    """A linear layer whose weight is not trained. Where oneDNN doesn't apply, it does what it always did."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        weight, bias = self.weight, self.bias
        frozen = not weight.requires_grad and (bias is None or not bias.requires_grad)
        floats = input.dtype is weight.dtype is torch.float32 and input.is_cpu and weight.is_cpu
        if not (frozen and floats and input.numel()):
            return super().forward(input)
        if torch.is_grad_enabled() and input.requires_grad:
            product: torch.Tensor = _Product.apply(input, weight, bias)
            return product
        return _product(input, weight, bias)


class _Product(torch.autograd.Function):
    """``input @ weight.T + bias``, with a gradient for the input."""

    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return _product(input, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return _product(grad, weight.t(), None), None, None


def _product(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """[..., d_in] -> [..., d_out]; weight: [d_out, d_in], with any strides."""
    assert PRODUCT is not None
    product: torch.Tensor = PRODUCT(input, weight, bias, "none", [], "")
    return product


def use_onednn(model: nn.Module) -> None:
    """Has the model's own linear layers use oneDNN where it applies. Parameters, names and hooks stay as they are."""
    if PRODUCT is not None:
        for name in CAPACITIES:
            os.environ.setdefault(name, str(CACHED_KERNELS))
        for module in model.modules():
            if type(module) is nn.Linear and module.weight.is_cpu and module.weight.dtype is torch.float32:
                module.__class__ = OneDnnLinear


def use_default(model: nn.Module) -> None:
    """Takes back what `use_onednn` did: to compare with."""
    for module in model.modules():
        if type(module) is OneDnnLinear:
            module.__class__ = nn.Linear  # type: ignore[assignment]
