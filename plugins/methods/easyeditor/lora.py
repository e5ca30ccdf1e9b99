"""LoRA by EasyEdit's own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from xkeb.editing.changes import LowRankChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import known
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb.utils.attributes import replaced_attribute
from xkeb_plugins.methods.easyeditor.bridge import CheckoutBridge, TokensBridge
from xkeb_plugins.methods.easyeditor.dry_run import two_for_all
from xkeb_plugins.methods.easyeditor.requests import request
from xkeb_plugins.methods.easyeditor.sandbox import sandbox, seeded
from xkeb_plugins.methods.lora import LoRA

ADAPTER = "default"
"""What peft calls the only one."""


@dataclass
class EasyEditorLoRA(CheckoutBridge, TokensBridge, LoRA):
    """LoRA by EasyEdit's own code, which has peft do it; needs a checkout (`path`) and peft.

    Options are those of `LoRA`. The factors at the start, and what dropout leaves out, are drawn by peft.
    """

    called: ClassVar[str] = "easyeditor-lora"
    modules: ClassVar[tuple[str, ...]] = ("models.lora.lora_main",)

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One change of all chosen projections for each edit, one after the other."""
        me = self.configure(backbone.spec)
        return [me._edit_one(backbone, edit) for edit in edits]

    def _edit_one(self, backbone: Backbone, edit: Edit) -> LowRankChange:
        tokenizer = self.tokenizer(backbone, [edit], answered=True)
        model = backbone.model
        with (
            sandbox(backbone),
            seeded(self.seed),
            replaced_attribute(model.config, "use_cache", model.config.use_cache),
        ):
            adapted = self.its("models.lora.lora_main").execute_lora(
                model, tokenizer, [request(edit)], self._hyper_parameters(backbone)
            )
            return LowRankChange({path: _factors(adapted, path) for path in self._paths(backbone, adapted)})

    def _paths(self, backbone: Backbone, adapted: Any = None) -> list[str]:
        if adapted is None:
            return super()._paths(backbone)
        inner = adapted.base_model.model
        return [path for path, module in inner.named_modules() if hasattr(module, "lora_A")]

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        return two_for_all(session, edits, lambda edit: self.edit(session.backbone, [edit])[0])

    def _hyper_parameters(self, backbone: Backbone) -> Any:
        return self.its("models.lora.lora_hparams").LoRAHyperParams(
            lora_type="lora",
            layers=list(known(self.layers)),
            num_steps=self.steps,
            lr=self.lr,
            weight_decay=0.0,
            kl_factor=0,
            norm_constraint=False,
            target_modules=list(known(self.targets)),
            rank=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            **self.common(backbone),
        )


def _factors(adapted: Any, path: str) -> Any:
    layer = adapted.base_model.model.get_submodule(path)
    left, right = layer.lora_B[ADAPTER].weight, layer.lora_A[ADAPTER].weight
    return layer.scaling[ADAPTER] * left.detach(), right.detach().clone()
