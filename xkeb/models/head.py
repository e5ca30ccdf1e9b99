"""From final hidden states to logits, and whether a loaded model is one that the suite's passes are right for."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from xkeb.errors import RequestError
from xkeb.models.layout import Layout

TIMES, DIVIDED_BY = ("logit_scale", "lm_head_multiplier"), ("logits_scaling",)
"""Options of configurations that scale logits. Which of them a family heeds, `check_head` finds out."""


def decode_hidden(model: PreTrainedModel, layout: Layout, hidden: torch.Tensor) -> torch.Tensor:
    """Next-token logits of final hidden states: [..., hidden_size] -> [..., vocabulary]."""
    logits: torch.Tensor = model.get_submodule(layout.head)(hidden).to(hidden.device)
    config = model.config.get_text_config()
    if (scale := _scale(config)) != 1:
        logits = logits * scale
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


def _scale(config: Any) -> float:
    scale = 1.0
    for name in TIMES:
        scale *= getattr(config, name, None) or 1.0
    for name in DIVIDED_BY:
        scale /= getattr(config, name, None) or 1.0
    return scale


@torch.no_grad()
def check_family(model: PreTrainedModel, layout: Layout) -> None:
    """Refuses a model whose logits are more than its head on its last hidden states, and one that looks ahead.

    Raises:
        RequestError: says which.
    """
    family = type(model).__name__
    decoder = model.get_submodule(layout.decoder)
    ids = torch.arange(3, 7, device=model.device).unsqueeze(0)
    hidden = decoder(input_ids=ids, use_cache=False).last_hidden_state.to(model.device)
    beginning = decoder(input_ids=ids[:, :2], use_cache=False).last_hidden_state.to(model.device)
    if not _close(beginning, hidden[:, :2]):
        raise RequestError(f"{family} lets a token see those after it; a causal language model is needed.")
    if not _close(model(ids, use_cache=False).logits, decode_hidden(model, layout, hidden)):
        raise RequestError(
            f"{family} makes its logits of more than its head on its last hidden states; how is not known here."
        )


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one.float(), other.float(), rtol=1e-3, atol=1e-3)
