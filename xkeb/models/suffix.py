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

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone


class _Prefix:
    """Keys and values of the tokens before the suffix. Looks like a cache to an attention module, but keeps nothing new."""

    def __init__(self, layers: list[tuple[torch.Tensor, torch.Tensor]], rows: torch.Tensor | None = None) -> None:
        """
        Args:
            rows: indices of the rows that are passed; None for all.
        """
        self.layers, self.rows = layers, rows
        self.length = layers[0][0].shape[-2] if layers else 0

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
        both = torch.cat([before_keys, keys], -2), torch.cat([before_values, values], -2)
        self.length = both[0].shape[-2]
        return both

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens that the last layer has seen, as of a cache that keeps them; before the first, those before the suffix."""
        return self.length


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
                in one column, the first of the suffix, where the family allows it (`sites`). None recomputes every position.
        """
        self.backbone = backbone
        self.layer = layer
        sites = [0] * len(rows) if sites is None else sites
        aligned = backbone.alignment.pads_left
        start = max(sites) if aligned else 0
        ids, mask = self._fill(rows, [start - site if aligned else 0 for site in sites])
        past = self._past(ids[:, :start], mask[:, :start]) if start else None
        self.sites = torch.tensor([0] * len(rows) if aligned else list(sites), device=backbone.device)
        """[B] The column of the suffix in which each row's site stands: the first, but where what stands before can't be
        kept."""
        self.mask = mask[:, start:].bool()
        """[B, S] True where the suffix has a token."""
        self._capture(ids, mask, start, past)

    def _fill(self, rows: Sequence[Sequence[int]], shifts: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids [B, T] of rows that begin in the columns `shifts`, and the mask of what is no padding."""
        width = max(shift + len(row) for row, shift in zip(rows, shifts, strict=True))
        ids = torch.full((len(rows), width), self.backbone.pad_id)
        mask = torch.zeros_like(ids)
        for i, (row, shift) in enumerate(zip(rows, shifts, strict=True)):
            ids[i, shift : shift + len(row)] = torch.tensor(row)
            mask[i, shift : shift + len(row)] = 1
        return ids.to(self.backbone.device), mask.to(self.backbone.device)

    def _past(self, ids: torch.Tensor, mask: torch.Tensor) -> DynamicCache:
        """Keys and values of the tokens before the suffix, [B, start]."""
        past = self.backbone.new_cache()
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        self.backbone.hidden(ids, past, attention_mask=mask, position_ids=positions)
        return past

    def _capture(self, ids: torch.Tensor, mask: torch.Tensor, start: int, past: DynamicCache | None) -> None:
        backbone, layout = self.backbone, self.backbone.layout
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        layers: list[Any] = (
            past.layers if past is not None else []
        )  # each with its keys and values, [B, heads, start, d]
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
        family = type(backbone.model).__name__
        if len(calls) != len(indices):
            raise RequestError(
                f"{family} doesn't run each of its layers once; an edit of one was expected to be of one pass."
            )
        sentence = (
            f"{family} does more than hand hidden states from layer to layer and norm the last, so its upper layers can't be "
            "run without the lower ones."
        )
        if entering[0].shape[:-1] != self.mask.shape:
            raise RequestError(sentence)
        self.entering, self.calls = entering[0], calls
        """`base`: [B, S, D] final hidden states of the model as it is; `entering`: [B, S, D] what enters the layer."""
        again = self.run()
        if not torch.allclose(
            again[self.mask], self.base[self.mask], rtol=1e-2, atol=1e-2 * float(self.base.abs().max())
        ):
            raise RequestError(sentence)

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
            hidden = output[0] if isinstance(output, tuple | list) else output
        last: torch.Tensor = hidden if layout.norm is None else self.backbone.module(layout.norm)(hidden)
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
