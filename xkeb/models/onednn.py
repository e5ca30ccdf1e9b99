"""The products of a model in float32 on a CPU, by oneDNN.

PyTorch leaves them to MKL, which on AMD's processors runs at less than half of what the core can do. oneDNN, which comes with
PyTorch as well, has kernels made for the processor that it finds; its sums are float32 like the others (docs/performance.md).
Which of the two is faster, `xkeb.models.products` finds out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

PRODUCT = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
"""oneDNN's; None where PyTorch was built without it."""

CACHED_KERNELS = 128
"""Kernels that are kept, each for one shape of one product. A pass needs a dozen. The libraries' own choice is 1,024: texts of
all lengths filled them with some 5 MB a case, until a process had grown by gigabytes."""
CAPACITIES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Where oneDNN, and PyTorch's layer above it, read how many to keep: at their first product, and never again."""


FEW = 32
"""Rows of a product that is bounded by reading the weight, at most."""


class Uses(NamedTuple):
    """What oneDNN is used for in a linear layer; MKL for the rest."""

    few: bool = True
    """Outputs of few rows."""
    many: bool = True
    few_back: bool = True
    """Gradients for an input of few rows."""
    many_back: bool = True


class OneDnnLinear(nn.Linear):
    """A linear layer whose weight is not trained. Where oneDNN doesn't apply, it does what it always did."""

    uses = Uses()

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        weight, bias = self.weight, self.bias
        frozen = not weight.requires_grad and (bias is None or not bias.requires_grad)
        floats = input.dtype is weight.dtype is torch.float32 and input.is_cpu and weight.is_cpu
        if not (frozen and floats and input.numel()):
            return super().forward(input)
        few = input.numel() <= FEW * input.shape[-1]
        forward, backward = (self.uses.few, self.uses.few_back) if few else (self.uses.many, self.uses.many_back)
        if torch.is_grad_enabled() and input.requires_grad:
            if not forward and not backward:
                return super().forward(input)
            product: torch.Tensor = _Product.apply(input, weight, bias, forward, backward)
            return product
        return onednn_product(input, weight, bias) if forward else super().forward(input)


class _Product(torch.autograd.Function):
    """``input @ weight.T + bias``, with a gradient for the input; each by oneDNN or not."""

    @staticmethod
    def forward(
        ctx: Any, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, forward: bool, backward: bool
    ) -> torch.Tensor:
        ctx.save_for_backward(weight)
        ctx.onednn = backward
        return onednn_product(input, weight, bias) if forward else F.linear(input, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        product = onednn_product(grad, weight.t(), None) if ctx.onednn else grad @ weight
        return product, None, None, None, None


def onednn_product(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """[..., d_in] -> [..., d_out]; weight: [d_out, d_in], with any strides."""
    assert PRODUCT is not None
    product: torch.Tensor = PRODUCT(input, weight, bias, "none", [], "")
    return product


def use_onednn(model: nn.Module, uses: Callable[[nn.Linear], Uses] = lambda linear: Uses()) -> None:
    """Has the model's own linear layers use oneDNN where it applies. Parameters, names and hooks stay as they are.

    Args:
        uses: for what, by layer.
    """
    if PRODUCT is not None:
        for name in CAPACITIES:
            os.environ.setdefault(name, str(CACHED_KERNELS))
        for module in model.modules():
            if type(module) is nn.Linear and module.weight.is_cpu and module.weight.dtype is torch.float32:
                of_this = uses(module)
                module.__class__ = OneDnnLinear
                module.uses = of_this  # type: ignore[assignment]


def use_default(model: nn.Module) -> None:
    """Takes back what `use_onednn` did: to compare with."""
    for module in model.modules():
        if type(module) is OneDnnLinear:
            module.__class__ = nn.Linear  # type: ignore[assignment]
            del module.uses
