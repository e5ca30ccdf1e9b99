"""Which texts share a forward pass, so that little of it goes into filling rows up."""

from __future__ import annotations

from collections.abc import Sequence

import torch

WASTE = 1 / 8
"""Largest share of a pass that is padding, once it is large enough to be worth a pass of its own."""

ENOUGH = 128
"""Tokens in a pass on a CPU, see `enough`."""

ENOUGH_ON_A_CARD = 512
"""By arithmetic: some 300 operations for a byte read balance an H100's products with its memory, and from twice as many tokens
on a layer of a 7B model takes longer than the calls of its kernels."""


def enough(device: torch.device) -> int:
    """Tokens from which on more of them in a pass make none of them cheaper: reading the weights no longer counts."""
    return ENOUGH if device.type == "cpu" else ENOUGH_ON_A_CARD


def by_length(lengths: Sequence[int], enough: int, *, most_tokens: int) -> list[list[int]]:
    """Indices of texts in groups, the longest first, each group to be padded to its longest.

    Args:
        lengths: tokens of each text.
        enough: padded tokens from which on a group is divided, if it would hold too much padding otherwise.
        most_tokens: of a group, padded; a text that is longer stands alone.
    """
    groups: list[list[int]] = []
    real = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if groups:
            group = groups[-1]
            longest = lengths[group[0]]
            padded = longest * (len(group) + 1)
            wasteful = longest * len(group) >= enough and padded - real - lengths[i] > WASTE * padded
            if padded <= most_tokens and not wasteful:
                group.append(i)
                real += lengths[i]
                continue
        groups.append([i])
        real = lengths[i]
    return groups
