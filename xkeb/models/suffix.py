"""The upper part of a forward pass, run again and again for the same tokens.

A change at layer L and position p touches nothing below L and nothing before p. So an optimiser that changes only what
leaves layer L from p on needs neither: the hidden states that enter layer L, and the keys and values before p, are
computed once and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import DynamicCache

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.batching import group_by_length
from xkeb.models.last_layer import is_plain, pick, states_at
from xkeb.models.replay import Replay
from xkeb.models.rounding import same_states


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
        self,
        backbone: Backbone,
        layer: int,
        rows: Sequence[Sequence[int]],
        sites: Sequence[int] | None = None,
        *,
        changed: str | None = None,
    ) -> None:
        """
        Args:
            rows: ids of each text.
            sites: the position in each text from which on it is computed again; texts are aligned so that these stand
                in one column, the first of the suffix, where the family allows it (`sites`). None recomputes every position.
            changed: path of the module of layer `layer`, or of that layer itself, whose output is all that hooks change. What
                the layer makes up to there is kept as well. None: hooks may change whatever they like.
        """
        self.backbone = backbone
        self.layer = layer
        heads = getattr(backbone.model.config.get_text_config(), "num_attention_heads", None)
        self.heads: int | None = heads if isinstance(heads, int) else None  # some families have other numbers by layer
        sites = [0] * len(rows) if sites is None else sites
        aligned = backbone.alignment.pads_left
        start = max(sites) if aligned else 0
        ids, mask = self._fill(rows, [start - site if aligned else 0 for site in sites])
        past = self._past(ids[:, :start], mask[:, :start], sites) if start else None
        self.sites = torch.tensor([0] * len(rows) if aligned else list(sites), device=backbone.device)
        """[B] The column of the suffix in which each row's site stands: the first, but where what stands before can't be
        kept."""
        self.mask = mask[:, start:].bool()
        """[B, S] True where the suffix has a token."""
        self.changed: tuple[torch.Tensor, torch.Tensor] | None = None
        """What enters and what leaves the module `changed` at each row's site: [B, d_in], [B, d_out]."""
        self.replay = (
            Replay(backbone.module(backbone.layout.layer(layer)), backbone.module(changed)) if changed else None
        )
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

    def _past(self, ids: torch.Tensor, mask: torch.Tensor, sites: Sequence[int]) -> DynamicCache:
        """Keys and values of the tokens before the suffix, [B, start]. Texts of similar length share a pass."""
        backbone, start = self.backbone, ids.shape[1]
        groups = group_by_length(sites, backbone.saturating_tokens, most_tokens=ids.numel())
        layers: list[list[tuple[torch.Tensor, torch.Tensor]]] = []  # of each group, [b, heads, start, d]
        for group in groups if len(groups) > 1 else []:
            first = [start - sites[i] for i in group]
            longest = max(1, start - min(first))
            columns = torch.arange(longest, device=ids.device) + torch.tensor(first, device=ids.device).unsqueeze(1)
            own = ids[torch.tensor(group, device=ids.device)].gather(1, columns.clamp_max(start - 1))  # (b, longest)
            past = backbone.new_cache()
            backbone.hidden_at(own, own[:, :0], past)
            kept = [getattr(layer, "keys", None) for layer in past.layers]
            if any(keys is None or keys.shape[-2] != longest for keys in kept):
                layers.clear()  # it keeps a state, or only a window, which ends in another column of each row
                break
            # What stands in columns before a row's first is masked.
            source = torch.arange(start, device=ids.device) - torch.tensor(first, device=ids.device).unsqueeze(1)
            layers.append([_laid(layer, source.clamp_min(0)) for layer in past.layers])
        whole = backbone.new_cache()
        if layers:
            order = torch.tensor([i for group in groups for i in group], device=ids.device).argsort()
            for index, parts in enumerate(zip(*layers, strict=True)):
                keys, values = (torch.cat(part)[order.to(part[0].device)] for part in zip(*parts, strict=True))
                whole.update(keys, values, index)
        else:
            positions = (mask.cumsum(-1) - 1).clamp_min(0)
            backbone.hidden_at(ids, ids[:, :0], whole, attention_mask=mask, position_ids=positions)
        return whole

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
        if self.replay:
            handles.append(self.replay.upto.register_forward_hook(self._keep_changed))
        try:
            with self.replay.recorded() if self.replay else nullcontext():
                self.base = backbone.hidden(
                    ids[:, start:], past, attention_mask=mask, position_ids=positions[:, start:]
                )
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
        if self.replay:
            self.replay.check(self.mask.shape)
        row = int(self.mask.sum(-1).argmax())  # the longest stands for all: what is asked is a question of the family
        own = self.mask[row]
        again = self.run(torch.tensor([row], device=own.device))[0]
        if not same_states(again[own], self.base[row][own]):
            raise RequestError(sentence)
        if self.replay:
            self.replay.check(self.mask.shape)

    def _keep_changed(self, _: Any, inputs: tuple[torch.Tensor, ...], output: Any) -> None:
        states = (inputs[0], output[0] if isinstance(output, tuple | list) else output)
        everyone = torch.arange(len(self.sites), device=self.sites.device)
        at_sites = (state[everyone.to(state.device), self.sites.to(state.device)] for state in states)
        entering, leaving = (state.to(self.backbone.device) for state in at_sites)
        self.changed = entering, leaving

    def run(self, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> torch.Tensor:
        """Final hidden states, after the last norm, of all rows or of those at the rising indices `rows`: [b, S, D].

        Hooks on modules of these layers see the same rows in the same order.

        Args:
            columns: [b, n] the columns of the suffix in each of these rows that are asked for: [b, n, D]. The last layer makes
                no others, where it can do without (`Backbone.hidden_at`).
        """
        layout, top = self.backbone.layout, self.backbone.n_layers - 1
        size = len(self.entering)
        if rows is not None and len(rows) == size:
            rows = None  # all of them: nothing to pick
        take = partial(_take, rows=rows, size=size, heads=self.heads)
        hidden: torch.Tensor = take(self.entering)
        for index, call in zip(range(self.layer, top + 1), self.calls, strict=True):
            layer = self.backbone.module(layout.layer(index))
            args = (hidden, *map(take, call.args))
            kwargs = {name: take(value) for name, value in call.kwargs.items()}
            asked = columns if index == top else None
            states = None
            if asked is not None and self.backbone.ends_early and is_plain(layer):
                states = states_at(layer.forward, asked, args, kwargs)
            if states is None:
                with self.replay.answering(take) if self.replay and index == self.layer else nullcontext():
                    output = layer(*args, **kwargs)
                states = output[0] if isinstance(output, tuple | list) else output
                states = states if asked is None else pick(states, asked)
            hidden = states
        last: torch.Tensor = hidden if layout.norm is None else self.backbone.module(layout.norm)(hidden)
        return last.to(self.backbone.device)  # of a model on several devices, from the last one


def _laid(layer: Any, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer's keys and values, [b, heads, T, d], with column ``source[r, c]`` of row r in column c."""
    source = source.to(layer.keys.device)
    rows = torch.arange(len(source), device=source.device).unsqueeze(1)
    keys, values = (state.transpose(1, 2)[rows, source].transpose(1, 2) for state in (layer.keys, layer.values))
    return keys, values


def _take(value: Any, rows: torch.Tensor | None, size: int, heads: int | None) -> Any:
    """The given rows of whatever has one entry a row, or (BLOOM's slopes) one a row and head; everything else as it is."""
    if rows is None:
        return value
    if isinstance(value, torch.Tensor):
        own = rows.to(value.device)
        if value.ndim > 1 and value.shape[0] == size:
            return value[own]
        if heads is not None and value.ndim == 3 and value.shape[0] == size * heads:
            return value.unflatten(0, (size, heads))[own].flatten(0, 1)
        return value
    if isinstance(value, tuple | list):
        return type(value)(_take(item, rows, size, heads) for item in value)
    if isinstance(value, _Prefix):
        return _Prefix(value.layers, rows)
    return value
