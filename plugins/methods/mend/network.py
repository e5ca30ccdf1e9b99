"""The networks that MEND learns: from the gradient of a matrix, token by token, to an update of it (Eqs. 2 and 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

EPSILON = 1e-7
"""Added to the standard deviations that gradients are divided by."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the networks are built."""

    rank: int
    n_hidden: int
    norm: bool
    combine: bool


class ResidualLayer(nn.Module):
    """``x + relu(scale * (U V x + b) + shift)``, with scale and shift of each matrix's own (Eqs. 3a and 3b; b in both, as in
    the released code). U begins at zero, so that the network begins as the identity."""

    def __init__(self, width: int, rank: int, n_modes: int, generator: torch.Generator) -> None:
        super().__init__()
        rank = min(rank, width)
        self.u = nn.Parameter(torch.zeros(width, rank))
        self.v = nn.Parameter(torch.randn(rank, width, generator=generator))
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(n_modes, width))
        self.shift = nn.Parameter(torch.zeros(n_modes, width))

    def forward(self, x: torch.Tensor, mode: int) -> torch.Tensor:
        """[N, width] -> [N, width] for the matrix of that number."""
        before = (x @ self.v.T) @ self.u.T + self.bias
        # A clamp, not a relu: at zero, where U begins, a relu would pass no gradient.
        acts: torch.Tensor = (before * self.scale[mode] + self.shift[mode]).clamp(min=0)
        return x + acts


class GradientTransform(nn.Module):
    """The network of all matrices of one shape: inputs u and output gradients v of single tokens to ones that write an
    edit. What it takes in is normalised by running means and deviations, kept from training."""

    mean: torch.Tensor
    squares: torch.Tensor
    count: torch.Tensor

    def __init__(self, d_in: int, d_out: int, n_modes: int, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        self.d_in, self.d_out, self.norm = d_in, d_out, shape.norm
        widths = [d_in + d_out] if shape.combine else [d_in, d_out]
        self.columns = nn.ModuleList(
            nn.ModuleList(ResidualLayer(width, shape.rank, n_modes, generator) for _ in range(shape.n_hidden + 1))
            for width in widths
        )
        self.register_buffer("mean", torch.zeros(d_in + d_out))
        self.register_buffer("squares", torch.zeros(d_in + d_out))
        self.register_buffer("count", torch.zeros(()))

    @torch.no_grad()
    def observe(self, u: torch.Tensor, v: torch.Tensor) -> None:
        """Takes the vectors of some tokens into the running statistics (Chan et al., 1979): [N, d_in], [N, d_out]."""
        if not len(u):
            return
        both = torch.cat([u, v], -1)
        n, mean = len(both), both.mean(0)
        total = self.count + n
        gap = mean - self.mean
        self.squares += ((both - mean) ** 2).sum(0) + gap**2 * (self.count * n / total)
        self.mean += gap * (n / total)
        self.count.copy_(total)

    def forward(self, u: torch.Tensor, v: torch.Tensor, mode: int) -> tuple[torch.Tensor, torch.Tensor]:
        """[N, d_in], [N, d_out] -> the same, for the matrix of that number."""
        both = torch.cat([u, v], -1)
        if self.norm:
            both = (both - self.mean) / ((self.squares / (self.count - 1)).sqrt() + EPSILON)
        parts = [both] if len(self.columns) == 1 else list(both.split([self.d_in, self.d_out], -1))
        outputs = []
        for part, column in zip(parts, self.columns, strict=True):
            assert isinstance(column, nn.ModuleList)
            for layer in column:
                part = layer(part, mode)
            outputs.append(part)
        new_u, new_v = torch.cat(outputs, -1).split([self.d_in, self.d_out], -1)
        return new_u, new_v


class Hypernetworks(nn.Module):
    """A transform for each shape of matrix (or for each matrix, where not shared), and a learnt step size for each."""

    def __init__(
        self, widths: Sequence[tuple[int, int]], shape: Shape, *, shared: bool, edit_lr: float, seed: int
    ) -> None:
        """
        Args:
            widths: (d_in, d_out) of each edited matrix.
        """
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, pair in enumerate(widths):
            groups.setdefault(pair if shared else (*pair, i), []).append(i)
        self.transforms = nn.ModuleList(
            GradientTransform(key[0], key[1], len(members), shape, generator) for key, members in groups.items()
        )
        self.place = {
            i: (group, mode) for group, members in enumerate(groups.values()) for mode, i in enumerate(members)
        }
        """Of each matrix: its transform, and its number there."""
        self.step_sizes = nn.Parameter(torch.full((len(widths),), edit_lr))

    def observe(self, i: int, u: torch.Tensor, v: torch.Tensor) -> None:
        """See `GradientTransform.observe`."""
        transform = self.transforms[self.place[i][0]]
        assert isinstance(transform, GradientTransform)
        transform.observe(u, v)

    def forward(self, i: int, u: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """For matrix `i`: from u and v of each token to the factors of ``W - step * sum_t v_t u_t^T`` (the sum is Eq. 2).

        Returns:
            v [N, d_out] with the step size and the sign in it, u [N, d_in].
        """
        group, mode = self.place[i]
        new_u, new_v = self.transforms[group](u, v, mode)
        return -self.step_sizes[i] * new_v, new_u

    @property
    def has_observed(self) -> bool:
        """Whether there are statistics to normalise by."""
        return all(bool(transform.count) for transform in self.transforms)

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
