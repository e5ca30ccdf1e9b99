"""Running means and deviations of what UltraEdit reads, the state that it carries through a sequence of edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch

from xkeb.errors import RequestError

EPSILON = torch.finfo(torch.float32).eps
"""Added to a deviation, as in the authors' code."""


@dataclass(frozen=True, slots=True)
class Normalizer:
    """Mean and deviation of every coordinate over the rows seen so far. A value: `updated` makes another."""

    count: int
    mean: torch.Tensor
    """[d] float64"""
    squares: torch.Tensor
    """[d] float64, the sum of squared deviations from the mean."""

    @classmethod
    def empty(cls, width: int, device: torch.device) -> Self:
        """One that has seen nothing."""
        nothing = torch.zeros(width, dtype=torch.float64, device=device)
        return cls(0, nothing, nothing)

    def updated(self, rows: torch.Tensor) -> Self:
        """One that has seen these rows, [n, d], as well (Chan et al., 1983, Eq. 2.1)."""
        rows = rows.double()
        count = self.count + len(rows)
        shift = rows.mean(0) - self.mean
        squares = self.squares + (rows - rows.mean(0)).pow(2).sum(0) + shift.pow(2) * self.count * len(rows) / count
        return type(self)(count, self.mean + shift * len(rows) / count, squares)

    def normalize(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows, [n, d], minus the mean, in deviations: float64.

        Raises:
            RequestError: fewer than two rows were seen, so there is no deviation.
        """
        if self.count < 2:
            raise RequestError(
                f"UltraEdit's normaliser has seen {self.count} answer token, which has no deviation: give ultraedit.warmup "
                f"some training facts."
            )
        deviation = (self.squares / (self.count - 1)).sqrt()
        return (rows.double() - self.mean) / (deviation + EPSILON)

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return type(self)(self.count, self.mean.to(device), self.squares.to(device))


Normalizers = dict[str, Normalizer]
"""By path of an edited matrix: of its input and the gradient of its output, side by side."""


def as_tensors(normalizers: Mapping[str, Normalizer]) -> dict[str, torch.Tensor]:
    """For a file."""
    tensors: dict[str, torch.Tensor] = {}
    for path, one in normalizers.items():
        tensors |= {
            f"{path}.count": torch.tensor([one.count]),
            f"{path}.mean": one.mean,
            f"{path}.squares": one.squares,
        }
    return tensors


def from_tensors(tensors: Mapping[str, torch.Tensor]) -> Normalizers:
    """What `as_tensors` was given."""
    paths = sorted({name.rpartition(".")[0] for name in tensors})
    return {
        path: Normalizer(int(tensors[f"{path}.count"]), tensors[f"{path}.mean"], tensors[f"{path}.squares"])
        for path in paths
    }
