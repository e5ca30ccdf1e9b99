"""WISE by EasyEdit's own code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from xkeb.editing.changes import Change
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor, known
from xkeb.editing.session import State
from xkeb.models.backbone import Backbone
from xkeb.models.onednn import OneDnnLinear
from xkeb.types import Edit
from xkeb_plugins.methods.easyeditor.adapter import AdapterChange
from xkeb_plugins.methods.easyeditor.bridge import CheckoutBridge, TokensBridge
from xkeb_plugins.methods.easyeditor.dry_run import two_for_all
from xkeb_plugins.methods.easyeditor.grace import detached, indexed
from xkeb_plugins.methods.easyeditor.package import having
from xkeb_plugins.methods.easyeditor.requests import request, templates
from xkeb_plugins.methods.easyeditor.sandbox import sandbox, seeded
from xkeb_plugins.methods.easyeditor.tokens import Padding
from xkeb_plugins.methods.wise.editor import Wise


class WiseAdapterChange(AdapterChange):
    """A side memory of EasyEdit's."""

    def __init__(self, path: str, adapter: Any) -> None:
        super().__init__(path, self._route)
        self.delta = (adapter.new_weight - adapter.weight).detach()
        """W' - W, as the model stores it."""
        self.adapter = detached(adapter, "layer", "original_layer")

    def _route(self, entering: torch.Tensor, leaving: torch.Tensor, _: int | None) -> torch.Tensor:
        self.adapter.layer = self.adapter.original_layer = lambda _: leaving
        with torch.no_grad():
            made: torch.Tensor = self.adapter(entering)
        return made


@dataclass
class EasyEditorWise(CheckoutBridge, TokensBridge, Wise):
    """WISE by EasyEdit's own code; needs a checkout (`path`).

    Options, sampled prefixes and unrelated questions are those of `Wise`, but it makes one edit a model. All tokens of a text
    say whether it is in scope, those of its answer too; behind keys and values of an earlier pass, each new token by itself.
    """

    cumulative: ClassVar[bool] = False
    called: ClassVar[str] = "easyeditor-wise"
    modules: ClassVar[tuple[str, ...]] = ("models.wise.wise_main",)
    padding: ClassVar[Padding] = "left"

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[WiseAdapterChange]:  # type: ignore[override]
        """A side memory of one edit for each, one after the other."""
        me = self.configure(backbone.spec)
        return [me._edit_one(backbone, edit) for edit in edits]

    def edit_after(self, backbone: Backbone, edits: Sequence[Edit], past: State) -> tuple[Change, State]:  # type: ignore[override]
        """One edit as the only one: the bridge carries nothing on."""
        return Editor.edit_after(self, backbone, edits, past)

    def why_single(self) -> str | None:
        return "the bridge makes EasyEdit's side memory anew for each edit"

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[WiseAdapterChange]:  # type: ignore[override]
        with session.phase("fit"):
            self.fit(session.backbone, session.training)
        return two_for_all(session, edits, lambda edit: self.edit(session.backbone, [edit])[0])

    def _edit_one(self, backbone: Backbone, edit: Edit) -> WiseAdapterChange:
        prefixes = self.prefixes(backbone)
        tokenizer = self.tokenizer(backbone, [edit], prefixes, answered=True)
        path = backbone.layout.down(known(self.layer))
        main, utils, wise = (self.its(f"models.wise.{name}") for name in ("wise_main", "utils", "WISE"))
        asked = {**request(edit), "loc_prompt": self.unrelated_to(edit).prompt}
        with (
            sandbox(backbone, [f"{path}.weight"]),
            default_product(backbone.module(path)),
            seeded(self.seed),
            having(utils, CONTEXT_TEMPLATES_CACHE=templates(prefixes)),
            having(wise, edit_history=[], merge_group_edit_history=[]),
        ):
            editor, _ = main.apply_wise_to_model(
                backbone.model, tokenizer, [asked], self._hyper_parameters(backbone, path)
            )
            return WiseAdapterChange(path, editor.model.get_submodule(path))

    def _hyper_parameters(self, backbone: Backbone, path: str) -> Any:
        parameters = self.its("models.wise.wise_hparams").WISEHyperParams(
            edit_lr=self.lr,
            n_iter=self.steps,
            objective_optimization="only_label",
            mask_ratio=self.mask_ratio,
            alpha=self.alpha,
            beta=self.beta,
            gamma=self.gamma,
            act_ratio=self.scope_ratio,
            save_freq=self.edits_per_shard,
            merge_freq=self.edits_per_shard * self.shards_per_memory,
            retrieve=True,
            replay=False,
            merge_alg="ties",
            norm_constraint=self.norm_constraint,
            inner_params=[f"{indexed(path)}.weight"],
            weights=1.0,
            densities=self.density,
            **self.common(backbone),
        )
        # It reads the activation function off the configuration, where Gemma has it by another name.
        parameters.hidden_act = getattr(backbone.model.config, "hidden_activation", None)
        return parameters


@contextmanager
def default_product(module: torch.nn.Module) -> Iterator[None]:
    """Inside, a projection is multiplied as torch does by default, which is how its code multiplies by W'. While W' is W still,
    their outputs must be the same to the bit: the distance between them has no gradient at zero, and one of length 1 in a
    direction of chance where rounding sets them apart."""
    kind = type(module)
    if isinstance(module, OneDnnLinear):
        module.__class__ = torch.nn.Linear  # type: ignore[assignment]
    try:
        yield
    finally:
        module.__class__ = kind
