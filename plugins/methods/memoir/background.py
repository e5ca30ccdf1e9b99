"""What all questions have in common: the mean activations of unrelated ones."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from xkeb.models.backbone import Backbone
from xkeb.models.batching import group_by_length, pad
from xkeb.models.layout import widths
from xkeb_plugins.methods.locate.partial_forward import run_up_to
from xkeb_plugins.methods.memoir.tophash import mean_of_tokens
from xkeb_plugins.methods.module_inputs import module_inputs


def mean_activations(backbone: Backbone, layer: int, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """What enters a layer's down-projection, the mean over questions of the mean over their tokens: [d_in] float32.

    Args:
        rows: the ids of questions, as they are put to the model.
    """
    module = backbone.module(backbone.layout.down(layer))
    lengths = [len(row) for row in rows]
    most = backbone.saturating_tokens
    total = torch.zeros(widths(module)[0], device=backbone.device)
    for group in group_by_length(lengths, most, most_tokens=most):
        ids = pad([rows[i] for i in group], backbone.pad_id, backbone.device)
        inputs = module_inputs(module, functools.partial(run_up_to, backbone, layer, ids))  # (B, T, d_in)
        ends = torch.tensor([lengths[i] for i in group], device=inputs.device)
        mask = torch.arange(inputs.shape[1], device=inputs.device) < ends[:, None]
        total += mean_of_tokens(inputs, mask).sum(0).to(total.device)
    return total / len(rows)
