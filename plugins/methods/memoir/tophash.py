"""TopHash: which columns of the memory a question has, by the features that are strongest in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch


@dataclass(frozen=True, slots=True)
class TopHash:
    """From a question's activations to `top_k` of its d_in features."""

    background: torch.Tensor
    """[d_in] float32, the mean activations of unrelated questions."""
    permutation: torch.Tensor
    """[d_in] the column that stands for each feature."""
    top_k: int

    @classmethod
    def drawn(cls, background: torch.Tensor, top_k: int, seed: int) -> Self:
        """One whose permutation is drawn by a seed."""
        permutation = torch.randperm(len(background), generator=torch.Generator().manual_seed(seed))
        return cls(background, permutation.to(background.device), top_k)

    def columns(self, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The columns of each text, rising, [B, top_k].

        Args:
            inputs: [B, T, d_in] what enters the matrix.
            mask: [B, T] True at the tokens of the question.
        """
        centred = mean_of_tokens(inputs, mask) - self.background.to(inputs.device)
        strongest = centred.abs().topk(self.top_k).indices
        return self.permutation.to(inputs.device)[strongest].sort().values


def mean_of_tokens(inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens that count: [B, T, d_in], [B, T] -> [B, d_in] float32."""
    counting = torch.where(mask[..., None], inputs.float(), 0.0)
    return counting.sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
