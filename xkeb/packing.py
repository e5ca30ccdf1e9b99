"""Which texts share a forward pass, so that little of it goes into filling rows up."""

from __future__ import annotations

from collections.abc import Sequence

import torch

WASTE = 1 / 8
"""Largest share of a pass that is padding, once it is large enough to be worth a pass of its own."""

ENOUGH = {"cpu": 128}
"""Tokens, by kind of device, from which on more of them in a pass make none of them cheaper: reading the weights no longer
counts."""

ENOUGH_ELSEWHERE = 512
"""By arithmetic, of a card: some 300 operations for a byte read balance an H100's products with its memory, and from twice as
many tokens on a layer of a 7B model takes longer than the calls of its kernels."""


def by_length(lengths: Sequence[int], device: torch.device, *, most_tokens: int) -> list[list[int]]:
    """Indices of texts in groups, the longest first, each group to be padded to its longest.

    Args:
        lengths: tokens of each text.
        most_tokens: of a group, padded; a text that is longer stands alone.
    """
    enough = ENOUGH.get(device.type, ENOUGH_ELSEWHERE)
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
