"""MEMIT by EasyEdit's own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from xkeb.editing.changes import LowRankChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import known
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.easyeditor.dry_run import two_for_all
from xkeb_plugins.methods.easyeditor.package import having, module, require
from xkeb_plugins.methods.easyeditor.requests import (
    COMMON,
    module_paths,
    request,
    statistics,
    templates,
    unlocatable,
)
from xkeb_plugins.methods.easyeditor.sandbox import sandbox, tuples
from xkeb_plugins.methods.easyeditor.tokens import Tokens, given_tokenizer, own_tokenizer
from xkeb_plugins.methods.locate.covariance import corpus_texts, key_covariance
from xkeb_plugins.methods.locate.optimize_value import KeyValue
from xkeb_plugins.methods.memit import Memit


@dataclass
class EasyEditorMemit(Memit):
    """MEMIT by EasyEdit's own code; needs `pip install --no-deps easyeditor==0.0.1.dev0 einops`.

    Options, sampled prefixes and second moments are those of `Memit`. It knows no norm after the MLP: it writes what such a
    norm makes of its update, not what it asked for.
    """

    in_paper: ClassVar[bool] = False

    tokens: Tokens = "easyeditor"
    """Whose token ids it works on: its own, or (``xkeb``) those of this suite."""

    def __post_init__(self) -> None:
        require()
        if self.stop_loss != 5e-2:
            raise ValueError("stop_loss is 0.05 in EasyEdit's code, whatever is asked for")

    def unsupported(self, backbone: Backbone, edit: Edit) -> str | None:
        """An edit whose subject it can't find, or whose texts it can't format."""
        return super().unsupported(backbone, edit) or unlocatable(edit)

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One change of some down-projections for each edit, one after the other."""
        me = self.configure(backbone.spec)
        return [me._run(backbone, [edit]) for edit in edits]

    def _edit_dry(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        return two_for_all(session, edits, lambda edit: self.edit(session.backbone, [edit])[0])

    def edit_together(self, backbone: Backbone, edits: Sequence[Edit]) -> LowRankChange:
        """One change that makes all the edits."""
        return self.configure(backbone.spec)._run(backbone, edits)

    def find_values(self, backbone: Backbone, edits: Sequence[Edit]) -> list[KeyValue]:
        """Its code finds values and writes them in one go."""
        raise RequestError("EasyEdit's MEMIT finds values and writes them in one go: use edit_together().")

    def write_values(self, backbone: Backbone, edits: Sequence[Edit], facts: Sequence[KeyValue]) -> LowRankChange:
        """See `find_values`."""
        raise RequestError("EasyEdit's MEMIT finds values and writes them in one go: use edit_together().")

    def _run(self, backbone: Backbone, edits: Sequence[Edit]) -> LowRankChange:
        layers = known(self.layers)
        facts = [request(edit, template=True) for edit in edits]
        groups = self._prefixes(backbone)
        prefixes = [prefix for group in groups for prefix in group]
        tokenizer = (
            own_tokenizer(backbone)
            if self.tokens == "easyeditor"
            else given_tokenizer(backbone, edits, prefixes, located=True)
        )
        moments = self._moments(backbone, sorted({edit.language for edit in edits}))
        main = module("models.memit.memit_main")
        with (
            sandbox(backbone, [f"{backbone.layout.down(layer)}.weight" for layer in layers]),
            tuples(backbone),
            having(
                main,
                CONTEXT_TEMPLATES_CACHE=[templates(group) for group in groups],
                COV_CACHE={},
                layer_stats=statistics(moments),
            ),
        ):
            factors = main.execute_memit(backbone.model, tokenizer, facts, self._hyper_parameters(backbone))
        return LowRankChange(
            {
                name.removesuffix(".weight"): (
                    residual.float().to(backbone.device),
                    keys.T.float().to(backbone.device),
                )
                for name, (keys, residual) in factors.items()
            }
        )

    def _moments(self, backbone: Backbone, languages: Sequence[str]) -> dict[str, torch.Tensor]:
        """The second moments of each edited layer's keys, by module path."""
        layers = known(self.layers)
        texts = corpus_texts(self.mom2_corpus, self._questions, self.mom2_samples, languages)
        moments = key_covariance(backbone, layers, texts)
        return {backbone.layout.down(layer): moment for layer, moment in moments.items()}

    def _hyper_parameters(self, backbone: Backbone) -> Any:
        return module("models.memit.memit_hparams").MEMITHyperParams(
            layers=list(known(self.layers)),
            layer_selection="all",
            fact_token="subject_last",
            v_num_grad_steps=self.steps,
            v_lr=self.lr,
            v_loss_layer=backbone.n_layers - 1,
            v_weight_decay=self.weight_decay,
            clamp_norm_factor=self.clamp,
            kl_factor=self.kl_factor,
            mom2_adjustment=True,
            mom2_update_weight=self.mom2_update_weight,
            mom2_dataset="",
            mom2_n_samples=self.mom2_samples,
            mom2_dtype="float32",
            stats_dir="",
            **module_paths(backbone),
            **COMMON,
        )
