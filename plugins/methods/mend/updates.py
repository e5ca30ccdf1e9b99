"""From edits to updates: the gradients of some edits, through the networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xkeb.editing.changes import LowRankChange
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.mend.gradient import gradient_factors
from xkeb_plugins.methods.mend.network import Hypernetworks


def edited_paths(backbone: Backbone, layers: Sequence[int]) -> list[str]:
    """The edited matrices: every projection of the MLPs of some layers."""
    layout = backbone.layout
    return [path for layer in layers for path in (*layout.ups(layer), layout.down(layer))]


def make_updates(
    backbone: Backbone, networks: Hypernetworks, layers: Sequence[int], edits: Sequence[Edit], *, observe: bool = False
) -> list[LowRankChange]:
    """The networks' updates, differentiable with respect to them.

    Args:
        observe: take the gradients into the running statistics first.
    """
    paths = edited_paths(backbone, layers)
    texts = [backbone.encode(edit.prompt, edit.target, edit.language) for edit in edits]
    factors = gradient_factors(backbone, min(layers), paths, texts)
    pairs: list[dict[str, tuple[torch.Tensor, torch.Tensor]]] = [{} for _ in edits]
    for i, path in enumerate(paths):
        counts = [len(own[i][0]) for own in factors]
        u, v = (torch.cat([own[i][side] for own in factors]) for side in (0, 1))
        if observe:
            networks.observe(i, u, v)
        new_v, new_u = networks(i, u, v)
        for pair, left, right in zip(pairs, new_v.split(counts), new_u.split(counts), strict=True):
            pair[path] = (left.T, right)
    return [LowRankChange(pair) for pair in pairs]
