"""TIES: several changes of one matrix as one (Yadav et al., 2023, https://arxiv.org/abs/2306.01708, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def merge(deltas: Sequence[torch.Tensor], density: float) -> torch.Tensor:
    """Each trimmed to its largest entries; of an entry, the mean of those that have the sign of their sum.

    Args:
        deltas: [d_out, d_in] each.
        density: share of the entries that trimming keeps.

    Returns:
        [d_out, d_in]
    """
    trimmed = torch.stack([_trim(delta, density) for delta in deltas])  # (k, d_out, d_in)
    sign = torch.where(trimmed.sum(0) >= 0, 1.0, -1.0)
    agreeing = trimmed.sign() == sign
    return (trimmed * agreeing).sum(0) / agreeing.sum(0).clamp_min(1)


def _trim(delta: torch.Tensor, density: float) -> torch.Tensor:
    kept = delta.abs().flatten().topk(max(1, int(density * delta.numel()))).indices
    mask = torch.zeros_like(delta)
    mask.view(-1)[kept] = 1
    return delta * mask
