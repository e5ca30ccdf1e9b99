"""R-ROME by EasyEdit's own code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xkeb_plugins.methods.easyeditor.bridge import CheckoutBridge
from xkeb_plugins.methods.easyeditor.rome import EasyEditorRome
from xkeb_plugins.methods.r_rome import RebuiltRome


@dataclass
class EasyEditorRebuiltRome(CheckoutBridge, EasyEditorRome, RebuiltRome):
    """R-ROME by EasyEdit's own code; needs a checkout (`path`).

    Options, sampled prefixes and second moments are those of `RebuiltRome`.
    """

    in_paper: ClassVar[bool] = False
    called: ClassVar[str] = "easyeditor-r-rome"
    modules: ClassVar[tuple[str, ...]] = ("models.r_rome.r_rome_main",)
    folder: ClassVar[str] = "r_rome"
    parameters: ClassVar[str] = "R_ROMEHyperParams"

    def own_parameters(self) -> dict[str, Any]:
        return {"enable_random_prefix_keys": self.averaged}
