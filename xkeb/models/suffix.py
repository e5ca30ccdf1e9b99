"""The upper part of a forward pass, run again and again for the same tokens.

A change at layer L and position p touches nothing below L and nothing before p. So an optimiser that changes only what
leaves layer L from p on needs neither: the hidden states that enter layer L, and the keys and values before p, are
computed once and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from xkeb.errors import XkebError
from xkeb.models.backbone import Backbone


class _Prefix:
    """Keys and values of the tokens before the suffix. Looks like a cache to an attention module, but keeps nothing new."""

    def __init__(self, layers: list[tuple[torch.Tensor, torch.Tensor]], rows: torch.Tensor | None = None) -> None:
        """
        Args:
            rows: indices of the rows that are passed; None for all.
        """
        self.layers, self.rows = layers, rows

    @property
    def signature(self) -> tuple[Any, ...] | None:
        """What a layer's work with it depends on, where only shapes count; None where that is not the same in all layers."""
        shapes = {(keys.shape, values.shape, keys.dtype) for keys, values in self.layers}
        return None if len(shapes) > 1 else (*shapes, None if self.rows is None else self.rows.shape)

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        before_keys, before_values = self.layers[layer_idx]
        if self.rows is not None:
            rows = self.rows.to(before_keys.device)
            before_keys, before_values = before_keys[rows], before_values[rows]
        return torch.cat([before_keys, keys], -2), torch.cat([before_values, values], -2)


@dataclass(frozen=True, slots=True)
class _Call:
    """The arguments with which a decoder layer was called, its hidden states aside."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class SuffixForward:
    """Layers `layer` and up of a backbone, for one batch of tokens, from column `start` on.

    Decoder layers are called with the very arguments that the model itself gave them, so this holds for any family
    whose layers take hidden states and give hidden states; the first run is compared with the model's own pass.
    """

    @torch.no_grad()
    def __init__(
        self, backbone: Backbone, layer: int, rows: Sequence[Sequence[int]], sites: Sequence[int] | None = None
    ) -> None:
        """
        Args:
            rows: ids of each text.
            sites: the position in each text from which on it is computed again; texts are aligned so that these stand
                in one column, the first of the suffix. None recomputes every position.
        """
        self.backbone = backbone
        self.layer = layer
        sites = [0] * len(rows) if sites is None else sites
        start = max(sites)
        width = start + max(len(row) - site for row, site in zip(rows, sites, strict=True))
        ids = torch.full((len(rows), width), backbone.pad_id)
        mask = torch.zeros_like(ids)
        for i, (row, site) in enumerate(zip(rows, sites, strict=True)):
            ids[i, start - site : start - site + len(row)] = torch.tensor(row)
            mask[i, start - site : start - site + len(row)] = 1
        self.mask = mask[:, start:].bool().to(backbone.device)
        """[B, S] True where the suffix has a token."""
        self._capture(ids.to(backbone.device), mask.to(backbone.device), start)

    def _capture(self, ids: torch.Tensor, mask: torch.Tensor, start: int) -> None:
        backbone, layout = self.backbone, self.backbone.layout
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        past = None
        prefix = _Prefix([])
        if start:
            past = DynamicCache(config=backbone.model.config)
            backbone.hidden(ids[:, :start], past, attention_mask=mask[:, :start], position_ids=positions[:, :start])
            layers: list[Any] = past.layers  # each with its keys and values, [B, heads, start, d]
            prefix = _Prefix([(layer.keys, layer.values) for layer in layers])
        calls: list[_Call] = []
        entering: list[torch.Tensor] = []

        def keep(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            hidden = args[0] if args else kwargs["hidden_states"]
            entering.append(hidden)
            rest = {
                k: prefix if v is past and past is not None else v for k, v in kwargs.items() if k != "hidden_states"
            }
            calls.append(_Call(tuple(prefix if v is past and past is not None else v for v in args[1:]), rest))

        indices = range(self.layer, backbone.n_layers)
        handles = [backbone.module(layout.layer(i)).register_forward_pre_hook(keep, with_kwargs=True) for i in indices]
        try:
            self.base = backbone.hidden(ids[:, start:], past, attention_mask=mask, position_ids=positions[:, start:])
        finally:
            for handle in handles:
                handle.remove()
        self.entering, self.calls = entering[0], calls
        """`base`: [B, S, D] final hidden states of the model as it is; `entering`: [B, S, D] what enters the layer."""
        again = self.run()
        if not torch.allclose(
            again[self.mask], self.base[self.mask], rtol=1e-2, atol=1e-2 * float(self.base.abs().max())
        ):
            raise XkebError(f"{type(backbone.model).__name__} hands more from layer to layer than hidden states.")

    def run(self, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Final hidden states, after the last norm, of all rows or of those at the rising indices `rows`: [b, S, D].

        Hooks on modules of these layers see the same rows in the same order.
        """
        layout = self.backbone.layout
        size = len(self.entering)
        if rows is not None and len(rows) == size:
            rows = None  # all of them: nothing to pick
        hidden = _take(self.entering, rows, size)
        for index, call in zip(range(self.layer, self.backbone.n_layers), self.calls, strict=True):
            args = tuple(_take(value, rows, size) for value in call.args)
            kwargs = {name: _take(value, rows, size) for name, value in call.kwargs.items()}
            output = self.backbone.module(layout.layer(index))(hidden, *args, **kwargs)
            hidden = output[0] if isinstance(output, tuple) else output
        last: torch.Tensor = self.backbone.module(layout.norm)(hidden)
        return last.to(self.backbone.device)  # of a model on several devices, from the last one


def _take(value: Any, rows: torch.Tensor | None, size: int) -> Any:
    """The given rows of whatever has one entry a row; everything else as it is."""
    if rows is None:
        return value
    if isinstance(value, torch.Tensor):
        return value[rows.to(value.device)] if value.ndim > 1 and value.shape[0] == size else value
    if isinstance(value, tuple | list):
        return type(value)(_take(item, rows, size) for item in value)
    if isinstance(value, _Prefix):
        return _Prefix(value.layers, rows)
    return value
