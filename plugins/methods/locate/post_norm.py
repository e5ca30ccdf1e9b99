"""Writing through a norm: blocks that normalise their MLP's output before it enters the residual stream.

There the MLP adds ``N(o)``, not ``o``: whatever is written, what is added has a length of the norm's own. To add ``r`` to
the residual stream, the output should be the ``o'`` whose ``N(o')`` comes nearest to ``N(o) + r``.
"""

from __future__ import annotations

import torch
from torch import nn

from xkeb.errors import XkebError

HALVINGS = 100
"""Of the interval that holds the multiplier: beyond the precision of a double."""


@torch.no_grad()
def write_through_norm(norm: nn.Module, outputs: torch.Tensor, addition: torch.Tensor) -> torch.Tensor:
    """The change of a down-projection's output whose effect after `norm` is nearest to `addition`.

    RMSNorm maps o to ``w * s`` with ``s = o / rms(o)`` on the sphere of radius sqrt(d), so the nearest point minimises
    ``|w * s - t|`` with ``t = N(o) + addition`` on that sphere. By Lagrange, ``s = w * t / (w^2 + m)`` with the multiplier
    m > -min(w^2) for which s has that radius; |s| falls in m, so halving an interval finds it. The length of o' does not
    matter to N; it keeps that of o.

    Args:
        outputs: [n, d] outputs of the down-projection, before `norm`.
        addition: [n, d] what should be added to the residual stream.

    Returns:
        [n, d] float64; zero where nothing is wanted.
    """
    outputs, addition = outputs.double(), addition.double()
    d = outputs.shape[1]
    ones = torch.ones(1, d, device=outputs.device)
    weight = norm(ones).double()  # (1, d) since the rms of ones is 1
    rms = outputs.pow(2).mean(-1, keepdim=True).sqrt()
    normed = norm(outputs.float()).double()
    if not torch.allclose(normed, weight * outputs / rms, rtol=1e-2, atol=1e-2 * float(normed.abs().max())):
        raise XkebError(f"{type(norm).__name__} after the MLP is no RMSNorm; writing through it is not known here.")
    pull = weight * (normed + addition)  # (n, d)
    smallest = weight.pow(2).min()
    low = torch.zeros_like(rms)
    high = pull.norm(dim=-1, keepdim=True) / d**0.5
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        long = (pull / (weight.pow(2) - smallest + middle)).pow(2).sum(-1, keepdim=True) > d
        low, high = torch.where(long, middle, low), torch.where(long, high, middle)
    directions = pull / (weight.pow(2) - smallest + high)
    directions = directions * d**0.5 / directions.norm(dim=-1, keepdim=True)
    return torch.where(addition.any(-1, keepdim=True), directions * rms - outputs, 0.0)
