"""GRACE by EasyEdit's own code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from xkeb.editing.changes import Change
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor, known
from xkeb.editing.session import State
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.easyeditor.adapter import AdapterChange
from xkeb_plugins.methods.easyeditor.bridge import CheckoutBridge, TokensBridge
from xkeb_plugins.methods.easyeditor.dry_run import two_for_all
from xkeb_plugins.methods.easyeditor.requests import request
from xkeb_plugins.methods.easyeditor.sandbox import sandbox, seeded
from xkeb_plugins.methods.grace.editor import Grace


class GraceAdapterChange(AdapterChange):
    """A codebook of EasyEdit's."""

    def __init__(self, path: str, adapter: Any) -> None:
        super().__init__(path, self._look_up)
        self.adapter = detached(adapter, "layer")
        self.adapter.config.val_init = "warm"  # else it draws a value in every pass, and throws it away

    def _look_up(self, entering: torch.Tensor, leaving: torch.Tensor, last: int | None) -> torch.Tensor:
        """Asked at the question's last token; where nobody says which that is, at the text's, as its code has it."""
        self.adapter.key_id = -1 if last is None else last
        self.adapter.layer = lambda _: leaving
        with torch.no_grad():
            made: torch.Tensor = self.adapter(entering)
        return made

    @property
    def keys(self) -> torch.Tensor:
        """Of its entries, [n, d_in]."""
        return self.adapter.keys.detach()

    @property
    def values(self) -> torch.Tensor:
        """Of its entries, [n, d_out]."""
        return self.adapter.values.detach()


@dataclass
class EasyEditorGrace(CheckoutBridge, TokensBridge, Grace):
    """GRACE by EasyEdit's own code; needs a checkout (`path`).

    Options are those of `Grace`. Its codebook is asked at the question's last token.
    """

    cumulative: ClassVar[bool] = False
    called: ClassVar[str] = "easyeditor-grace"
    modules: ClassVar[tuple[str, ...]] = ("models.grace.grace_main",)

    replacement: Literal["replace_last", "replace_all", "replace_prompt"] = "replace_last"
    """Which tokens' outputs are replaced where the question is in scope: its last one's, all, or those before it."""

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[GraceAdapterChange]:  # type: ignore[override]
        """A codebook of one entry for each edit, one after the other."""
        me = self.configure(backbone.spec)
        return [me._edit_one(backbone, edit) for edit in edits]

    def edit_after(self, backbone: Backbone, edits: Sequence[Edit], past: State) -> tuple[Change, State]:  # type: ignore[override]
        """One edit as the only one: the bridge carries nothing on."""
        return Editor.edit_after(self, backbone, edits, past)

    def why_single(self) -> str | None:
        return "the bridge makes EasyEdit's codebook anew for each edit"

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[GraceAdapterChange]:  # type: ignore[override]
        return two_for_all(session, edits, lambda edit: self.edit(session.backbone, [edit])[0])

    def _edit_one(self, backbone: Backbone, edit: Edit) -> GraceAdapterChange:
        tokenizer = self.tokenizer(backbone, [edit], answered=True)
        path = backbone.layout.down(known(self.layer))
        with sandbox(backbone, [f"{path}.weight"]), seeded(self.seed):
            editor, _ = self.its("models.grace.grace_main").apply_grace_to_model(
                backbone.model, tokenizer, [request(edit)], self._hyper_parameters(backbone, path)
            )
            return GraceAdapterChange(path, editor.model.get_submodule(path))

    def _hyper_parameters(self, backbone: Backbone, path: str) -> Any:
        return self.its("models.grace.grace_hparams").GraceHyperParams(
            edit_lr=self.lr,
            n_iter=self.steps,
            eps=self.radius,
            dist_fn="euc",
            val_init=self.init,
            val_train="sgd",
            val_reg="None",
            reg="early_stop",
            replacement=self.replacement,
            eps_expand="coverage",
            num_pert=8,
            dropout=0.0,
            inner_params=[f"{indexed(path)}.weight"],
            **self.common(backbone),
        )


def indexed(path: str) -> str:
    """A module path in the form that its code evaluates: ``model.layers[5].mlp``."""
    return re.sub(r"\.(\d+)(?=\.)", r"[\1]", path)


def detached(adapter: Any, *names: str) -> Any:
    """Its adapter without the model's own weight, and without the modules of these names, in whose place something else will be
    called."""
    for name in names:
        del adapter._modules[name]
    adapter._parameters.pop("weight", None)
    adapter.weight = None
    return adapter
