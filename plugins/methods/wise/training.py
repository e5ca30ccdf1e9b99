"""Writing one edit into a side memory: the answer's likelihood, and margins between the edit and what is unrelated."""

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
from xkeb_plugins.methods.locate.partial_forward import run_up_to
from xkeb_plugins.methods.module_inputs import module_inputs
from xkeb_plugins.methods.token_gradients import answer_positions, mean_by_row
from xkeb_plugins.methods.wise.memory import SideMemory, activation_difference


@dataclass(frozen=True, slots=True)
class Margins:
    """Between the activation differences of edits and of what is unrelated."""

    alpha: float
    """Most of an unrelated question."""
    beta: float
    """Least of an edit."""
    gamma: float
    """Least by which an edit's is larger."""

    def loss(self, edits: torch.Tensor, unrelated: torch.Tensor) -> torch.Tensor:
        """What is missing to each margin; of several texts, the mean over those that miss it.

        Args:
            edits: [N] activation differences.
            unrelated: [1]
        """
        return (
            _mean_missing(unrelated - self.alpha)
            + _mean_missing(self.beta - edits)
            + _mean_missing(self.gamma - (edits - unrelated))
        )


@dataclass(frozen=True, slots=True)
class Steps:
    """Of gradient descent."""

    most: int
    lr: float
    bound: float
    """Largest change of a single weight."""


def write_edit(
    backbone: Backbone,
    layer: int,
    texts: Sequence[Encoded],
    unrelated: Sequence[int],
    delta: torch.Tensor,
    mask: torch.Tensor,
    margins: Margins,
    steps: Steps,
) -> SideMemory:
    """The side memory after gradient descent on ``-log p(answer) + margins``, from `delta` on, where `mask` is true.

    Args:
        texts: question and answer after each context prefix.
        unrelated: ids of a question out of scope.
        delta: [d_out, d_in] W' - W before.
        mask: [d_out, d_in]
    """
    path = backbone.layout.down(layer)
    suffix = SuffixForward(backbone, layer, [text.ids[:-1] for text in texts], changed=path)
    module = backbone.module(path)
    inputs = module_inputs(module, suffix.run)  # (N, T, d_in)
    outside = module_inputs(
        module, lambda: run_up_to(backbone, layer, torch.tensor([unrelated], device=backbone.device))
    )
    columns = torch.arange(inputs.shape[1], device=inputs.device)
    question = columns < torch.tensor([text.prompt_end for text in texts], device=inputs.device)[:, None]  # (N, T)
    whole = torch.ones(outside.shape[:2], dtype=torch.bool, device=outside.device)
    rows, positions, tokens = answer_positions(texts, backbone.device)

    def add(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        return output + (inputs @ delta.T).to(output)

    handle = module.register_forward_hook(add)
    last = float("inf")
    try:
        for _ in range(steps.most):
            delta = delta.detach().requires_grad_()
            logits = backbone.logits(suffix.run()[rows, positions]).float()
            answer = mean_by_row(F.cross_entropy(logits, tokens, reduction="none"), rows, len(texts)).mean()
            edits = activation_difference(delta, inputs, question)
            loss = answer + margins.loss(edits, activation_difference(delta, outside, whole)).to(answer.device)
            (gradient,) = torch.autograd.grad(loss, delta)
            delta = (delta.detach() - steps.lr * mask * gradient).clamp(-steps.bound, steps.bound)
            before, last = last, float(loss.detach())
            if has_settled(last, before):
                break
    finally:
        handle.remove()
    return SideMemory(delta, float(activation_difference(delta, inputs, question).min()))


def _mean_missing(missing: torch.Tensor) -> torch.Tensor:
    return missing.clamp_min(0).sum() / (missing > 0).sum().clamp_min(1)
