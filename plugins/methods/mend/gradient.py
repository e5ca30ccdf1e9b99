"""The fine-tuning gradient of an edit, in the form that MEND reads it: an input and an output gradient for each token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from xkeb.models.backbone import Backbone
from xkeb.models.suffix import SuffixForward
from xkeb.models.tokenization import Encoded

Factors = list[list[tuple[torch.Tensor, torch.Tensor]]]
"""For each edit and each matrix: u [T, d_in] and v [T, d_out], whose ``sum_t v_t u_t^T`` is the gradient, in float32."""


def answer_positions(texts: Sequence[Encoded], device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Row, position whose logits predict it, and id of every token from the end of the prompt on."""
    answers = [
        (row, at - 1, text.ids[at]) for row, text in enumerate(texts) for at in range(text.prompt_end, len(text.ids))
    ]
    rows, positions, tokens = (torch.tensor(column, device=device) for column in zip(*answers, strict=True))
    return rows, positions, tokens


def mean_by_row(values: torch.Tensor, rows: torch.Tensor, n: int) -> torch.Tensor:
    """Mean over the answer tokens of each row: [n]."""
    return values.new_zeros(n).index_add(0, rows, values) / torch.bincount(rows, minlength=n)


@torch.enable_grad()
def gradient_factors(backbone: Backbone, layer: int, paths: Sequence[str], texts: Sequence[Encoded]) -> Factors:
    """Per-token factors of the gradient of each text's mean negative log-likelihood, with respect to the matrices at
    `paths`, all in `layer` or above.

    Tokens from which no gradient flows are left out, as in the released code: networks could make something of nothing.
    """
    suffix = SuffixForward(backbone, layer, [text.ids[:-1] for text in texts])
    inputs: dict[str, torch.Tensor] = {}
    outputs: dict[str, torch.Tensor] = {}

    def watch(path: str) -> Any:
        def hook(_: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            inputs[path] = args[0].detach()
            # Nothing, but something to differentiate by: no parameter takes gradients.
            outputs[path] = torch.zeros_like(output, requires_grad=True)
            return output + outputs[path]

        return backbone.module(path).register_forward_hook(hook)

    handles = [watch(path) for path in paths]
    try:
        hidden = suffix.run()  # (B, T, D)
    finally:
        for handle in handles:
            handle.remove()
    rows, positions, tokens = answer_positions(texts, hidden.device)
    losses = F.cross_entropy(backbone.logits(hidden[rows, positions]).float(), tokens, reduction="none")
    gradients = torch.autograd.grad(mean_by_row(losses, rows, len(texts)).sum(), [outputs[path] for path in paths])
    answered = torch.zeros_like(suffix.mask)
    answered[rows, positions] = True
    above = f"{backbone.layout.layer(backbone.n_layers - 1)}."
    factors: Factors = []
    for row in range(len(texts)):
        own = []
        for path, gradient in zip(paths, gradients, strict=True):
            u, v = (factor[row].float().to(hidden.device) for factor in (inputs[path], gradient))
            # From the last layer, nothing flows but where an answer is predicted.
            may = (answered if path.startswith(above) else suffix.mask)[row]
            flows = may & (u != 0).any(-1) & (v != 0).any(-1)
            own.append((u[flows], v[flows]))
        factors.append(own)
    return factors
