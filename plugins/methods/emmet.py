"""EMMET: equality-constrained mass model editing (Gupta et al., 2024, https://arxiv.org/abs/2403.14236)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from xkeb.models.spec import ModelSpec
from xkeb_plugins.methods.locate.spread import Factors, Share, solve_ridge
from xkeb_plugins.methods.locate.spread_editor import SpreadEditor


@dataclass
class Emmet(SpreadEditor):
    """EMMET: ROME for many facts at once: an update after which every key gives its new value exactly."""

    name: ClassVar[str] = "emmet"

    layers: tuple[int, ...] | None = None
    """Edited layers, from low to high. None: the tuned ones, or one as deep as layer 5 of LLaMA-7B's 32."""
    ridge: float = 0.1
    """Added to the diagonal of ``K^T C^-1 K`` where more than one edit goes into a change: keys of one subject are nearly
    the same (the released code's ``emmet_lambda``, times its ``mom2_update_weight``). 0: the paper's formula as it is."""

    def usual(self, spec: ModelSpec) -> dict[str, Any]:
        return super().usual(spec) | {"layers": (spec.scale_layer(5, of=32),)}

    def write_share(self, share: Share, statistic: torch.Tensor) -> Factors:
        """``R (K^T C^-1 K)^-1 K^T C^-1``."""
        weight = self.ridge if len(share.keys) > 1 else 0.0
        return share.residual.float().T, solve_ridge(share.keys, statistic, weight).float()
