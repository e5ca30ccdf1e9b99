"""Which texts share a forward pass, so that little of it goes into filling rows up."""

from __future__ import annotations

from collections.abc import Sequence

import torch

WASTE = 1 / 16
"""Largest share of a pass that is padding, once it is large enough to be worth a pass of its own."""

SATURATING_ON_CPU = 128
"""Tokens in a pass on a CPU, see `saturating_tokens`."""

SATURATING_ON_GPU = 2048
"""Passes of 300 to 500 tokens left an H100 idle for more than half the time: a layer of a 7B model, with its backward pass, is
some 140 calls of kernels, and 26 µs pass from one to the next: as long as the products take for 2,000 tokens."""


def saturating_tokens(device: torch.device) -> int:
    """Tokens from which on more of them in a pass make none of them cheaper: reading the weights no longer counts."""
    return SATURATING_ON_CPU if device.type == "cpu" else SATURATING_ON_GPU


def group_by_length(lengths: Sequence[int], saturating: int, *, most_tokens: int) -> list[list[int]]:
    """Indices of texts in groups, the longest first, each group to be padded to its longest.

    Args:
        lengths: tokens of each text.
        saturating: padded tokens from which on a group is divided, if it would hold too much padding otherwise.
        most_tokens: of a group, padded; a text that is longer stands alone.
    """
    groups: list[list[int]] = []
    real = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if groups:
            group = groups[-1]
            longest = lengths[group[0]]
            padded = longest * (len(group) + 1)
            wasteful = longest * len(group) >= saturating and padded - real - lengths[i] > WASTE * padded
            if padded <= most_tokens and not wasteful:
                group.append(i)
                real += lengths[i]
                continue
        groups.append([i])
        real = lengths[i]
    return groups


def pad(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> torch.Tensor:
    """Rows of ids as [B, T], filled up on the right."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in rows], device=device)
