"""Whether two ways through many layers to the same states differ by rounding alone."""

from __future__ import annotations

import torch

FLOAT32 = 1e-2
"""Largest difference of a number, in numbers of the largest and of its own."""
HALF = 0.1
"""Largest difference of a state in half precision, as a share of its norm. 32 layers of a 7B model in bfloat16, with another
number of rows in the pass, gave up to 0.043 on an Intel Xeon, whose kernels are others for a few rows than for many; single
numbers differed by up to 0.039 of the largest. A family that a pass is wrong for differs by about as much as there is."""


def same_states(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether states [.., d] are the same but for rounding; they have one precision and, to be the same, one shape."""
    if found.shape != wanted.shape:
        return False
    if wanted.dtype is torch.float32:
        return torch.allclose(found, wanted, rtol=FLOAT32, atol=FLOAT32 * float(wanted.abs().max()))
    off = (found.float() - wanted.float()).norm(dim=-1)
    return torch.allclose(off / wanted.float().norm(dim=-1), torch.zeros_like(off), rtol=0, atol=HALF)
