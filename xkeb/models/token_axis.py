"""Layers that lay all tokens of a batch in one row before their MLP, as OPT's do: to hooks, its projections get batches again.

What edits a model looks at a projection's input as [B, T, d], row by row. So a projection that is called with [B * T, d] from
inside its layer is called with [B, T, d] instead, hooks included, and what it gives is laid out again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from xkeb.models.layout import Layout


class _WithTokens(nn.Module):
    """Goes before the class of a projection."""

    batch: torch.Size | None = None
    """(B, T) of the pass that its layer is in."""

    def __call__(self, input: torch.Tensor) -> Any:
        if self.batch is None or input.ndim != 2 or len(input) != self.batch.numel():
            return super().__call__(input)
        return super().__call__(input.unflatten(0, self.batch)).flatten(0, 1)


def keep_token_axis(model: PreTrainedModel, layout: Layout) -> None:
    """Prepares the projections that a layer holds itself, in no MLP of its own. Where they are called with whole batches, as in
    most families, nothing changes. Parameters and names stay as they are."""
    names = [name for name in (*layout.up_proj, layout.down_proj) if "." not in name]
    if layout.down_proj not in names:
        return
    for index in range(layout.n_layers):
        layer = model.get_submodule(layout.layer(index))
        for name in names:
            module = layer.get_submodule(name)
            if not isinstance(module, _WithTokens):
                cls = type(module)
                module.__class__ = type(cls.__name__, (_WithTokens, cls), {"__module__": cls.__module__})
        _tell(layer, names)


def _tell(layer: nn.Module, names: list[str]) -> None:
    """Has a layer tell its projections of each pass."""

    def begin(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        for name in names:
            layer.get_submodule(name).batch = hidden.shape[:2]

    def end(layer: nn.Module, *_: Any) -> None:
        for name in names:
            layer.get_submodule(name).batch = None  # type: ignore[assignment]

    layer.register_forward_pre_hook(begin, with_kwargs=True)
    layer.register_forward_hook(end, always_call=True)
