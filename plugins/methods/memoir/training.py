"""Writing one edit into its columns of the residual memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from xkeb.models.backbone import Backbone
from xkeb.models.suffix import SuffixForward
from xkeb.models.tokenization import Encoded
from xkeb_plugins.methods.early_stop import has_settled
from xkeb_plugins.methods.memoir.memory import ResidualMemory
from xkeb_plugins.methods.memoir.tophash import TopHash
from xkeb_plugins.methods.module_inputs import module_inputs
from xkeb_plugins.methods.token_gradients import answer_positions, mean_by_row


@dataclass(frozen=True, slots=True)
class Steps:
    """Of gradient descent."""

    most: int
    lr: float
    clip: float
    """Largest norm of a gradient; a larger one is scaled down to it."""


def write_edit(
    backbone: Backbone, layer: int, texts: Sequence[Encoded], hasher: TopHash, memory: ResidualMemory, steps: Steps
) -> ResidualMemory:
    """The memory after gradient descent on the answer's mean ``-log p`` over the texts, in the columns of the first one.

    Args:
        texts: question and answer after each context prefix, the bare one first.
    """
    path = backbone.layout.down(layer)
    module = backbone.module(path)
    suffix = SuffixForward(backbone, layer, [text.ids[:-1] for text in texts], changed=path)
    inputs = module_inputs(module, suffix.run)  # (N, T, d_in)
    question = torch.arange(inputs.shape[1], device=inputs.device) < texts[0].prompt_end
    (columns,) = hasher.columns(inputs[:1], question[None])
    own = inputs[..., columns]  # (N, T, k)
    values = memory.dense()[:, columns]  # (d_out, k)
    rows, positions, tokens = answer_positions(texts, backbone.device)

    def add(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        return output + (own @ values.T).to(output)

    handle = module.register_forward_hook(add)
    last = float("inf")
    try:
        for _ in range(steps.most):
            values = values.detach().requires_grad_()
            logits = backbone.logits(suffix.run()[rows, positions]).float()
            loss = mean_by_row(F.cross_entropy(logits, tokens, reduction="none"), rows, len(texts)).mean()
            (gradient,) = torch.autograd.grad(loss, values)
            values = values.detach() - steps.lr * gradient * (steps.clip / gradient.norm()).clamp_max(1)
            before, last = last, float(loss.detach())
            if has_settled(last, before):
                break
    finally:
        handle.remove()
    return memory.written(columns, values)
