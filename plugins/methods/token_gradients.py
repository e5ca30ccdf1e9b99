"""The gradient of an edit's loss at some matrices, in factors: for each token an input, and a gradient of the output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from xkeb.models.backbone import Backbone
from xkeb.models.suffix import SuffixForward
from xkeb.models.tokenization import Encoded


@dataclass(frozen=True, slots=True)
class TokenGradients:
    """Of a batch of B texts, padded to T tokens, by path of a matrix."""

    inputs: dict[str, torch.Tensor]
    """[B, T, d_in] what enters it."""
    gradients: dict[str, torch.Tensor]
    """[B, T, d_out] the gradient of a text's mean negative log-likelihood with respect to what leaves it."""
    mask: torch.Tensor
    """[B, T] True where a text has a token."""
    rows: torch.Tensor
    """Of each answer token, its text."""
    positions: torch.Tensor
    """Of each answer token, where it is predicted."""


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
def token_gradients(backbone: Backbone, layer: int, paths: Sequence[str], texts: Sequence[Encoded]) -> TokenGradients:
    """
    Args:
        layer: the lowest that a matrix stands in.
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
    return TokenGradients(inputs, dict(zip(paths, gradients, strict=True)), suffix.mask, rows, positions)


def tokens_for_backward(backbone: Backbone, layer: int) -> int:
    """Tokens of one pass from which a backward pass down to `layer` keeps about `Backbone.activation_budget` bytes."""
    layout = backbone.layout
    # Of a token and a layer: both norms, some of them in float32, what enters and leaves the projections of the attention,
    # and the MLP's inner states.
    numbers = 16 * layout.hidden_size + 5 * layout.intermediate_size
    each = (backbone.n_layers - layer) * numbers * backbone.dtype.itemsize
    return backbone.activation_budget // each
