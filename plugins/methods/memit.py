"""MEMIT: mass-editing memory in a transformer (Meng et al., 2023, https://arxiv.org/abs/2210.07229)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from xkeb.editing.editor import known
from xkeb.models.spec import ModelSpec
from xkeb_plugins.methods.locate.spread import Factors, Share, solve_ridge
from xkeb_plugins.methods.locate.spread_editor import SpreadEditor


@dataclass
class Memit(SpreadEditor):
    """MEMIT: least-squares updates of a few layers' MLPs that together move the residual stream to optimised values."""

    name: ClassVar[str] = "memit"
    in_paper: ClassVar[bool] = True

    mom2_update_weight: float | None = None
    """How much what the layers hold already weighs against a new fact: lambda in Eq. 15. None: the tuned one, or 15000."""

    def usual(self, spec: ModelSpec) -> dict[str, Any]:
        return super().usual(spec) | {"mom2_update_weight": 15000.0}

    def write_share(self, share: Share, statistic: torch.Tensor) -> Factors:
        """``R K^T (lambda C + K K^T)^-1`` (Eq. 14 and 15)."""
        right = solve_ridge(share.keys, statistic, known(self.mom2_update_weight))
        return share.residual.float().T, right.float()
