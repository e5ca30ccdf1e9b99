"""MEMIT by EasyEdit's own code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from xkeb.models.backbone import Backbone
from xkeb_plugins.methods.easyeditor.spread import Run, SpreadBridge, by_side
from xkeb_plugins.methods.memit import Memit


@dataclass
class EasyEditorMemit(SpreadBridge, Memit):
    """MEMIT by EasyEdit's own code; needs `pip install --no-deps easyeditor==0.0.1.dev0 einops`, or a checkout (`path`).

    Options, sampled prefixes and second moments are those of `Memit`. It knows no norm after the MLP: it writes what such a
    norm makes of its update, not what it asked for.
    """

    in_paper: ClassVar[bool] = False
    called: ClassVar[str] = "easyeditor-memit"
    modules: ClassVar[tuple[str, ...]] = ("models.memit.memit_main",)

    def execute(self, backbone: Backbone, run: Run) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        return by_side(self.its("models.memit.memit_main").execute_memit(backbone.model, *run))

    def _hyper_parameters(self, backbone: Backbone) -> Any:
        return self.its("models.memit.memit_hparams").MEMITHyperParams(
            mom2_update_weight=self.mom2_update_weight, **self._values(backbone)
        )
