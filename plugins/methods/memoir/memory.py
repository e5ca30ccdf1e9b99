"""The residual memory, as a value: its columns, and which of them each edit has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch

from xkeb_plugins.methods.question_gate import NONE


@dataclass(frozen=True, slots=True)
class ResidualMemory:
    """A matrix W_m of the model's own one's shape, zero outside the columns of its n edits. None of its methods changes it."""

    masks: torch.Tensor
    """[n, d_in] True at the columns of each edit; no two rows are alike."""
    columns: torch.Tensor
    """[m] those of all edits, rising."""
    weight: torch.Tensor
    """[d_out, m] W_m at these columns, float32."""

    @classmethod
    def empty(cls, d_in: int, d_out: int, device: torch.device) -> Self:
        """One without edits: W_m is zero."""
        return cls(
            torch.zeros(0, d_in, dtype=torch.bool, device=device),
            torch.zeros(0, dtype=torch.long, device=device),
            torch.zeros(d_out, 0, device=device),
        )

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor], device: torch.device) -> Self:
        """What `tensors` returned, on a device."""
        return cls(*(tensors[name].to(device) for name in ("masks", "columns", "weight")))

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of it."""
        return {"masks": self.masks, "columns": self.columns, "weight": self.weight}

    def dense(self) -> torch.Tensor:
        """W_m, [d_out, d_in]."""
        matrix = self.weight.new_zeros(len(self.weight), self.masks.shape[1])
        matrix[:, self.columns] = self.weight
        return matrix

    def written(self, columns: torch.Tensor, values: torch.Tensor) -> Self:
        """After an edit that has these columns: [k] rising, and [d_out, k] what W_m is there from now on."""
        mask = members(columns[None], self.masks.shape[1])
        if not len(self.masks):
            return type(self)(mask, columns, values)
        there = bool((self.masks == mask).all(1).any())
        masks = self.masks if there else torch.cat([self.masks, mask])
        matrix = self.dense()
        matrix[:, columns] = values
        every = masks.any(0).nonzero().squeeze(1)
        return type(self)(masks, every, matrix[:, every])

    def overlap(self, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The edit that shares most columns with each text, and how many: [B, k] -> twice [B]."""
        theirs = members(columns, self.masks.shape[1]).float()
        most = (theirs @ self.masks.to(columns.device).float().T).max(1)
        return most.indices, most.values

    def add(self, edits: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """``W_m (M * x)`` with the mask M of an edit for each text, nothing for `NONE`: [B], [B, T, d_in] -> [B, T, d_out]."""
        columns = self.columns.to(inputs.device)
        mask = self.masks.to(inputs.device)[edits.clamp_min(0)][:, columns] & (edits != NONE)[:, None]  # (B, m)
        return (inputs[..., columns] * mask[:, None]) @ self.weight.T.to(inputs)


def members(columns: torch.Tensor, d_in: int) -> torch.Tensor:
    """Rows of columns as masks: [B, k] -> [B, d_in] bool."""
    masks = torch.zeros(len(columns), d_in, dtype=torch.bool, device=columns.device)
    return masks.scatter_(1, columns, value=True)
