"""Layers that are all alike: in a dry run, one of them is run, and the others are taken for what it did.

A model has dozens of layers with the same shapes, and they are given the same shapes. Where no gradient passes and nothing is
hooked into a layer, what it makes, what it needs and how much work it is depends on these shapes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from xkeb.estimation.meter import Meter, Work
from xkeb.utils.attributes import replaced_attribute

Key = tuple[Any, ...]
PLAIN = (int, float, bool, str, type(None), torch.dtype, torch.device)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
INDEX = "layer_idx"
"""What tells a layer from the others, and makes no difference without a cache of keys and values."""


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one forward pass of a layer did."""

    work: Work
    peak: int
    """Most bytes alive at once, beyond those that were alive before."""
    outputs: tuple[tuple[torch.Size, torch.dtype], ...]
    spec: TreeSpec


class LayerCosts:
    """Those that are known. One of these serves any number of dry runs, of any models."""

    def __init__(self) -> None:
        self.known: dict[Key, LayerCost] = {}

    @contextmanager
    def used(self, meter: Meter, layers: set[type[nn.Module]]) -> Iterator[None]:
        """Inside, layers of these classes do what was done before only once."""
        with ExitStack() as stack:
            for cls in layers:
                stack.enter_context(replaced_attribute(cls, "forward", self._repeating(meter, cls.forward)))
            yield

    def _repeating(self, meter: Meter, original: Callable[..., Any]) -> Callable[..., Any]:
        def forward(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
            key = _key(layer, args, kwargs)
            if key is None:
                return original(layer, *args, **kwargs)
            if key in self.known:
                return _repeat(meter, self.known[key])
            with meter.interval() as interval:
                out = original(layer, *args, **kwargs)
            if (cost := _cost(out, interval.work, interval.peak, interval.kept)) is not None:
                self.known[key] = cost
            return out

        return forward


def _key(layer: nn.Module, args: Any, kwargs: Any) -> Key | None:
    """All that the costs of a pass depend on; None where they depend on more."""
    leaves, spec = tree_flatten((args, kwargs))
    parts: list[Any] = [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), str(spec)]
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            if torch.is_grad_enabled() and leaf.requires_grad:
                return None
            parts.append((type(leaf), leaf.shape, leaf.stride(), leaf.dtype))
        elif isinstance(leaf, PLAIN):
            parts.append(leaf)
        else:  # a cache, say, which a pass changes
            return None
    for path, module in layer.named_modules():
        hooked = path and any(getattr(module, kind) for kind in HOOKS)
        if hooked or "forward" in vars(module):
            return None
        for parameter in module._parameters.values():
            if parameter is None:
                continue
            if torch.is_grad_enabled() and parameter.requires_grad:
                return None
            parts.append((parameter.shape, parameter.dtype))
        told = {name: value for name, value in vars(module).items() if isinstance(value, PLAIN) and name != INDEX}
        parts.append((path, type(module), tuple(sorted(told.items(), key=lambda item: item[0]))))
    return tuple(parts)


def _cost(out: Any, work: Work, peak: int, kept: int) -> LayerCost | None:
    """What is to be known of a pass; None where it left more than what it returned."""
    leaves, spec = tree_flatten(out)
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor) or not leaf.is_contiguous() or leaf.storage_offset():
            return None
    if kept != sum(leaf.nbytes for leaf in leaves):
        return None
    return LayerCost(work, peak, tuple((leaf.shape, leaf.dtype) for leaf in leaves), spec)


def _repeat(meter: Meter, cost: LayerCost) -> Any:
    with meter.uncounted(cost.work, cost.peak):
        leaves = [torch.empty(shape, dtype=dtype) for shape, dtype in cost.outputs]
    return tree_unflatten(leaves, cost.spec)
