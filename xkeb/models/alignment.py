"""Whether texts of several lengths can stand in one batch with their ends, or any other place, in one column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

CLOSE = 1e-2
"""Largest difference of hidden states that counts as none, of their largest number."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """What a family's passes may be given."""

    continues: bool = True
    """A text after what stands before it, kept as keys and values."""
    pads_left: bool = True
    """The same with padding before it."""


@torch.no_grad()
def find_alignment(
    hidden: Callable[..., torch.Tensor], new_cache: Callable[[], Cache], device: torch.device
) -> Alignment:
    """Tries both on four tokens. Families that keep no cache, that count positions by columns whatever they are told, or whose
    recurrences read padding, give them other states than they have alone.

    Args:
        hidden: `Backbone.hidden`.
    """
    ids = torch.arange(3, 7, device=device).unsqueeze(0)
    alone = hidden(ids)[:, 2:]

    def same(padding: int) -> bool:
        row = torch.cat([ids[:, :1].expand(1, padding), ids], 1)
        mask = torch.ones_like(row)
        mask[:, :padding] = 0
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        past, end = new_cache(), padding + 2
        hidden(row[:, :end], past, attention_mask=mask[:, :end], position_ids=positions[:, :end])
        if not _keeps_keys(past):
            return False
        after = hidden(row[:, end:], past, attention_mask=mask, position_ids=positions[:, end:])
        return after.shape == alone.shape and float((alone - after).abs().max()) <= CLOSE * float(alone.abs().max())

    continues = same(0)
    return Alignment(continues, pads_left=continues and same(2))


def _keeps_keys(past: Cache) -> bool:
    """Whether layers have written their keys and values into a cache, and nothing besides. Those without attention keep the
    state of a recurrence or a convolution instead, or as well, which can't be picked row by row; some keep nothing."""
    layers = list(past.layers)
    plain = [layer for layer in layers if isinstance(layer, DynamicLayer) and layer.keys is not None]
    return bool(plain) and len(plain) == len(layers) and not any(hasattr(layer, "recurrent_states") for layer in layers)
