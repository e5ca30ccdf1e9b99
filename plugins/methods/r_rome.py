"""R-ROME: ROME with one and the same key in both places of its update (Gupta et al., 2024, https://arxiv.org/abs/2403.07175)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from xkeb_plugins.methods.locate.optimize_value import KeyValue
from xkeb_plugins.methods.rome import Rome, rank_one


@dataclass
class RebuiltRome(Rome):
    """R-ROME: ROME's update, whose direction and whose condition are of the same key, so that it can't explode."""

    name: ClassVar[str] = "r-rome"
    in_paper: ClassVar[bool] = False

    averaged: bool = True
    """Whether the key is the mean over the prefixes (R-ROME), or that of the bare prompt (p-ROME in the same paper)."""

    def update(self, fact: KeyValue, lower: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The update after which the key gives the new value: ``(v* - W k) (C^-1 k)^T / (k^T C^-1 k)``."""
        if self.averaged:
            return rank_one(fact.key, fact.key, fact.new_value - fact.mean_value, lower)
        return rank_one(fact.bare_key, fact.bare_key, fact.new_value - fact.old_value, lower)
