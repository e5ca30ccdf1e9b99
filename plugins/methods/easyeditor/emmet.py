"""EMMET by EasyEdit's own code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from xkeb.models.backbone import Backbone
from xkeb_plugins.methods.easyeditor.bridge import CheckoutBridge
from xkeb_plugins.methods.easyeditor.spread import Run, SpreadBridge, by_side
from xkeb_plugins.methods.emmet import Emmet


@dataclass
class EasyEditorEmmet(CheckoutBridge, SpreadBridge, Emmet):
    """EMMET by EasyEdit's own code; needs a checkout (`path`).

    Options, sampled prefixes and second moments are those of `Emmet`. Its ridge is added to a single edit as well.
    """

    called: ClassVar[str] = "easyeditor-emmet"
    modules: ClassVar[tuple[str, ...]] = ("models.emmet.emmet_main",)

    def execute(self, backbone: Backbone, run: Run) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        return by_side(self.its("models.emmet.emmet_main").execute_emmet(backbone.model, *run))

    def _hyper_parameters(self, backbone: Backbone) -> Any:
        return self.its("models.emmet.emmet_hparams").EMMETHyperParams(
            mom2_update_weight=1, emmet_lambda=self.ridge, **self._values(backbone)
        )
