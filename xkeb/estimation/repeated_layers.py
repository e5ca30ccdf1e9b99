"""Layers that are all alike: in a dry run, one of them is run, and the others are taken for what it did.

A model has dozens of layers with the same shapes, and they are given the same shapes. Where nothing is hooked into a layer, and
its weights aren't trained, what it makes, what it needs and how much work it is, on the way back as well, depends on these
shapes alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from xkeb.estimation.meter import Interval, Meter, Work
from xkeb.utils.attributes import replaced_attribute

Key = tuple[Any, ...]
PLAIN = (int, float, bool, str, type(None), torch.dtype, torch.device)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
FLOAT = 4
"""Bytes of a number."""
INDEX = "layer_idx"
"""What tells a layer from the others. It makes no difference but for where keys and values are kept."""


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one forward pass of a layer did."""

    work: Work
    peak: int
    """Most bytes alive at once, beyond those that were alive before."""
    outputs: tuple[tuple[torch.Size, torch.dtype], ...]
    spec: TreeSpec
    saved: int = 0
    """Bytes that are held for the way back, beside inputs and outputs."""
    back: Interval | None = None
    """The way back; None where no gradient passes."""
    kept: tuple[tuple[torch.Size, torch.dtype], ...] = ()
    """The keys and the values that it added to a cache."""


class LayerCosts:
    """Those that are known. One of these serves any number of dry runs, of any models."""

    def __init__(self) -> None:
        self.known: dict[Key, LayerCost | None] = {}
        """None: a pass that must be run each time."""

    @contextmanager
    def used(self, meter: Meter, layers: set[type[nn.Module]]) -> Iterator[None]:
        """Inside, layers of these classes do what was done before only once."""
        with ExitStack() as stack:
            for cls in layers:
                stack.enter_context(replaced_attribute(cls, "forward", self._repeating(meter, cls.forward)))
            yield

    def _repeating(self, meter: Meter, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)  # its signature says what an argument is called
        def forward(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
            key = _key(layer, args, kwargs)
            if key is None:
                return original(layer, *args, **kwargs)
            leaves, spec = tree_flatten((args, kwargs))
            wanted = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
            if key not in self.known and wanted and torch.is_grad_enabled():
                self.known[key] = _there_and_back(meter, partial(original, layer), leaves, spec, wanted)
            if key in self.known:
                if (cost := self.known[key]) is None:
                    return original(layer, *args, **kwargs)
                if cost.back is None:
                    cache = next((leaf for leaf in leaves if isinstance(leaf, DynamicCache)), None)
                    return tree_unflatten(_outputs(meter, cost, cache, _index(layer)), cost.spec)
                given = [leaves[i] for i in wanted]
                return tree_unflatten(list(_Repeated.apply(meter, cost, *given)), cost.spec)
            with _added(meter, leaves) as added, meter.interval() as interval:
                out = original(layer, *args, **kwargs)
            cost = _cost(out, interval)
            if cost is not None and interval.kept != sum(leaf.nbytes for leaf in tree_flatten(out)[0]) + added.nbytes:
                cost = None  # it left more than what it returned, and what it kept
            if cost is not None and added.calls:
                cost = replace(cost, kept=added.calls[0]) if len(added.calls) == 1 else None
            self.known[key] = cost
            return out

        return forward


def _key(layer: nn.Module, args: Any, kwargs: Any) -> Key | None:
    """All that the costs of a pass depend on; None where they depend on more."""
    leaves, spec = tree_flatten((args, kwargs))
    parts: list[Any] = [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), str(spec)]
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            parts.append((type(leaf), leaf.shape, leaf.stride(), leaf.dtype, leaf.requires_grad))
        elif isinstance(leaf, PLAIN):
            parts.append(leaf)
        elif (signature := getattr(leaf, "signature", None)) is not None:  # keys and values that a pass leaves alone
            parts.append(signature)
        elif isinstance(leaf, DynamicCache) and not torch.is_grad_enabled():
            if (state := _state(leaf, _index(layer))) is None:
                return None
            parts.append(state)
        else:
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


def _index(layer: nn.Module) -> int:
    """The place of a layer in a cache of keys and values; -1 where it says none."""
    found = {getattr(module, INDEX) for module in layer.modules() if hasattr(module, INDEX)}
    return int(found.pop()) if len(found) == 1 else -1


def _state(cache: DynamicCache, index: int) -> Key | None:
    """All that a layer's pass depends on of the keys and values that are there; None of a cache that may hold something else,
    such as a recurrent state."""
    if not 0 <= index < len(cache.layers) or type(cache.layers[index]) not in (DynamicLayer, DynamicSlidingWindowLayer):
        return None
    told: list[Any] = [type(cache.layers[index])]
    for name, value in sorted(vars(cache.layers[index]).items()):
        if isinstance(value, torch.Tensor):  # who else holds it keeps it alive when it is exchanged for a longer one
            told.append((name, value.shape, value.stride(), value.dtype, sys.getrefcount(value)))
        else:
            told.append((name, value))
    return tuple(told)


class _Added:
    """What a pass adds to the caches that it is given."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[torch.Size, torch.dtype], ...]] = []
        """Of each time, the keys and the values."""
        self.nbytes = 0
        """By which they left more alive than before."""


@contextmanager
def _added(meter: Meter, leaves: Sequence[Any]) -> Iterator[_Added]:
    added = _Added()

    def update(
        original: Callable[..., Any], keys: torch.Tensor, values: torch.Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        added.calls.append(((keys.shape, keys.dtype), (values.shape, values.dtype)))
        before = meter.live
        both = original(keys, values, *args, **kwargs)
        added.nbytes += meter.live - before
        return both

    with ExitStack() as stack:
        for cache in (leaf for leaf in leaves if isinstance(leaf, DynamicCache)):
            stack.enter_context(replaced_attribute(cache, "update", partial(update, cache.update)))
        yield added


def _cost(out: Any, interval: Interval) -> LayerCost | None:
    """What is to be known of a pass; None where it returned something else than whole tensors."""
    leaves, spec = tree_flatten(out)
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor) or not leaf.is_contiguous() or leaf.storage_offset():
            return None
    return LayerCost(interval.work, interval.peak, tuple((leaf.shape, leaf.dtype) for leaf in leaves), spec)


def _there_and_back(
    meter: Meter, original: Callable[..., Any], leaves: Sequence[Any], spec: TreeSpec, wanted: Sequence[int]
) -> LayerCost | None:
    """A pass on trial, with its gradients, which counts for nothing.

    Args:
        leaves, spec: of what the layer is given.
        wanted: the leaves whose gradients are asked for.
    """
    with meter.on_trial():
        given = [leaf.detach().requires_grad_() if i in wanted else leaf for i, leaf in enumerate(leaves)]
        args, kwargs = tree_unflatten(given, spec)
        with meter.interval() as there:
            out = original(*args, **kwargs)
        cost = _cost(out, there)
        outputs = [leaf for leaf in tree_flatten(out)[0] if isinstance(leaf, torch.Tensor)]
        if cost is None or not all(leaf.requires_grad for leaf in outputs):
            return None
        saved = there.kept - sum(leaf.nbytes for leaf in outputs)
        grads = [torch.empty_like(leaf) for leaf in outputs]
        with meter.interval() as back:
            torch.autograd.grad(outputs, [given[i] for i in wanted], grads)
        return replace(cost, saved=saved, back=back)


def _outputs(meter: Meter, cost: LayerCost, cache: DynamicCache | None = None, index: int = -1) -> list[torch.Tensor]:
    with meter.uncounted(cost.work, cost.peak):
        if cache is not None and cost.kept:
            keys, values = (torch.empty(shape, dtype=dtype) for shape, dtype in cost.kept)
            cache.update(keys, values, index)
            del keys, values
        return [torch.empty(shape, dtype=dtype) for shape, dtype in cost.outputs]


class _Repeated(torch.autograd.Function):
    """A layer's pass that isn't run, and its way back."""

    @staticmethod
    def forward(ctx: Any, meter: Meter, cost: LayerCost, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = _outputs(meter, cost)
        with meter.uncounted(Work(), 0):
            held = torch.empty(cost.saved // FLOAT, dtype=torch.float32)
        ctx.save_for_backward(*given, held)
        ctx.meter, ctx.back = meter, cost.back
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        *given, _ = ctx.saved_tensors
        with ctx.meter.uncounted(ctx.back.work, ctx.back.peak):
            return (None, None, *(torch.empty_like(one) for one in given))
