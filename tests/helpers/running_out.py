"""Memory that runs out, and what must be as it was when it has."""

from __future__ import annotations

import hashlib

import torch

from xkeb.models.backbone import Backbone

TOO_MUCH = 2**58
"""Bytes that no machine has: the allocator says so at once."""


def run_out() -> None:
    torch.empty(TOO_MUCH, dtype=torch.uint8)


def state(backbone: Backbone) -> tuple[str, list[str], list[str]]:
    """Every parameter and buffer to the bit, the modules with hooks, the parameters with gradients."""
    found, model = hashlib.sha256(), backbone.model
    for tensor in [*model.parameters(), *model.buffers()]:
        found.update(tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    hooks = [p for p, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks]
    grads = [name for name, p in model.named_parameters() if p.grad is not None or p.requires_grad]
    return found.hexdigest(), hooks, grads
