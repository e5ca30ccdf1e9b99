"""ROME by EasyEdit's own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from xkeb.editing.changes import LowRankChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import known
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.easyeditor.bridge import TokensBridge
from xkeb_plugins.methods.easyeditor.dry_run import two_for_all
from xkeb_plugins.methods.easyeditor.package import having
from xkeb_plugins.methods.easyeditor.requests import (
    module_paths,
    request,
    statistics,
    templates,
    unlocatable,
)
from xkeb_plugins.methods.easyeditor.sandbox import sandbox
from xkeb_plugins.methods.locate.covariance import corpus_texts, key_covariance
from xkeb_plugins.methods.rome import Rome


@dataclass
class EasyEditorRome(TokensBridge, Rome):
    """ROME by EasyEdit's own code; needs `pip install --no-deps easyeditor==0.0.1.dev0 einops`, or a checkout (`path`).

    Options, sampled prefixes and second moments are those of `Rome`.
    """

    called: ClassVar[str] = "easyeditor-rome"
    modules: ClassVar[tuple[str, ...]] = ("models.rome.rome_main",)
    folder: ClassVar[str] = "rome"
    parameters: ClassVar[str] = "ROMEHyperParams"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stop_loss != 5e-2:
            raise ValueError("stop_loss is 0.05 in EasyEdit's code, whatever is asked for")

    def unsupported(self, backbone: Backbone, edit: Edit) -> str | None:
        """An edit whose subject it can't find, or whose texts it can't format."""
        return super().unsupported(backbone, edit) or unlocatable(edit)

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One rank-one change of a down-projection for each edit, one after the other."""
        me = self.configure(backbone.spec)
        prefixes = me.prefixes(backbone)
        moments = me._moments(backbone, sorted({edit.language for edit in edits}))
        return [me._edit_one(backbone, edit, prefixes, moments) for edit in edits]

    def _edit_dry(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        return two_for_all(session, edits, lambda edit: self.edit(session.backbone, [edit])[0])

    def _moments(self, backbone: Backbone, languages: Sequence[str]) -> dict[str, torch.Tensor]:
        """The second moment of the edited layer's keys, by module path."""
        if not self.mom2_adjustment:
            return {}
        layer = known(self.layer)
        texts = corpus_texts(self.mom2_corpus, self._questions, self.mom2_samples, languages)
        return {backbone.layout.down(layer): key_covariance(backbone, [layer], texts)[layer]}

    def _edit_one(
        self, backbone: Backbone, edit: Edit, prefixes: Sequence[str], moments: dict[str, torch.Tensor]
    ) -> LowRankChange:
        fact = request(edit, template=True)
        tokenizer = self.tokenizer(backbone, [edit], prefixes, located=True)
        main, compute_u = self._its("main"), self.its(f"models.{self.folder}.compute_u")
        with (
            sandbox(backbone, [f"{backbone.layout.down(known(self.layer))}.weight"]),
            having(main, CONTEXT_TEMPLATES_CACHE=templates(prefixes)),
            having(compute_u, inv_mom2_cache={}, layer_stats=statistics(moments)),
        ):
            factors = getattr(main, f"execute_{self.folder}")(
                backbone.model, tokenizer, fact, self._hyper_parameters(backbone)
            )
        # Its left vector is the key's side.
        return LowRankChange(
            {name.removesuffix(".weight"): (v.unsqueeze(1), u.unsqueeze(0)) for name, (u, v) in factors.items()}
        )

    def _hyper_parameters(self, backbone: Backbone) -> Any:
        return getattr(self._its("hparams"), self.parameters)(
            layers=[self.layer],
            fact_token="subject_last",
            v_num_grad_steps=self.steps,
            v_lr=self.lr,
            v_loss_layer=backbone.n_layers - 1,
            v_weight_decay=self.weight_decay,
            clamp_norm_factor=self.clamp,
            kl_factor=self.kl_factor,
            mom2_adjustment=self.mom2_adjustment,
            context_template_length_params=[],
            mom2_dataset="",
            mom2_n_samples=self.mom2_samples,
            mom2_dtype="float64",
            stats_dir="",
            **module_paths(backbone),
            **self.common(backbone),
            **self.own_parameters(),
        )

    def own_parameters(self) -> dict[str, Any]:
        """Hyper-parameters that ROME hasn't."""
        return {}

    def _its(self, part: str) -> Any:
        return self.its(f"models.{self.folder}.{self.folder}_{part}")
