"""What the gate reads of a question: the mean over its tokens of one layer's output, by the model as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from xkeb.models.backbone import Backbone
from xkeb.models.batching import group_by_length, pad
from xkeb.utils.artifacts import cached_tensors
from xkeb.utils.hashing import digest_texts
from xkeb.utils.progress import report_progress
from xkeb_plugins.methods.locate.partial_forward import run_up_to

MOST_TOKENS = 4096
"""Padded tokens of one forward pass."""


@dataclass(frozen=True)
class States:
    """The mean states of some texts."""

    rows: Mapping[str, int]
    """Where each text stands in `matrix`."""
    matrix: torch.Tensor
    """[n, hidden_size], float32."""

    def of(self, texts: Sequence[str]) -> torch.Tensor:
        """The states of some of them: [len(texts), hidden_size]."""
        return self.matrix[torch.tensor([self.rows[text] for text in texts], device=self.matrix.device)]


@torch.no_grad()
def mean_states(backbone: Backbone, layer: int, texts: Sequence[str]) -> torch.Tensor:
    """The mean over the tokens of each text, special ones aside, of what layer `layer` gives.

    A text is passed bare, however questions are put to the model, and no further than that layer.

    Returns:
        [len(texts), hidden_size] in float32, on the backbone's device.
    """
    rows = [backbone.encode(text).ids for text in texts]
    means = torch.empty(len(rows), backbone.layout.hidden_size, device=backbone.device)
    done = 0
    lengths = [len(row) for row in rows]
    for group in group_by_length(lengths, backbone.saturating_tokens, most_tokens=MOST_TOKENS):
        states = _layer_output(backbone, layer, [rows[i] for i in group])  # (B, T, D)
        counted = _counted(backbone, [rows[i] for i in group]).to(states.device)  # (B, T)
        sums = (states.float() * counted.unsqueeze(-1)).sum(1)
        means[group] = (sums / counted.sum(1, keepdim=True)).to(means.device)
        done += len(group)
        report_progress("questions read", done, len(rows))
    return means


def cached_states(backbone: Backbone, layer: int, texts: Sequence[str]) -> States:
    """`mean_states` of different texts, kept in the cache for whatever is trained on them."""
    key = {
        "backbone": backbone.sha256,
        "dtype": str(backbone.dtype),
        "layer": layer,
        "texts": digest_texts(texts),
        "version": 1,
    }
    kept = cached_tensors("mean-states", key, lambda: {"states": mean_states(backbone, layer, texts)})
    return States({text: i for i, text in enumerate(texts)}, kept["states"].to(backbone.device))


def _layer_output(backbone: Backbone, layer: int, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """What a layer gives for rows padded on the right: [B, T, hidden_size]."""
    seen: list[torch.Tensor] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple | list) else output)

    handle = backbone.module(backbone.layout.layer(layer)).register_forward_hook(keep)
    try:
        run_up_to(backbone, layer, pad(rows, backbone.pad_id, backbone.device))
    finally:
        handle.remove()
    return seen[0]


def _counted(backbone: Backbone, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """[B, T] one where a token belongs to the text, zero at padding and special tokens; a text that has nothing else counts
    whole."""
    width = max(map(len, rows))
    table = []
    for row in rows:
        inside = [float(token not in backbone.special_ids) for token in row]
        table.append([*(inside if any(inside) else [1.0] * len(row)), *[0.0] * (width - len(row))])
    return torch.tensor(table)
