"""AlphaEdit by EasyEdit's own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import torch

from xkeb.editing.changes import LowRankChange
from xkeb.editing.editor import known
from xkeb.models.backbone import Backbone
from xkeb.models.layout import as_stored
from xkeb.types import Edit
from xkeb_plugins.methods.alphaedit import AlphaEdit, KeySums
from xkeb_plugins.methods.easyeditor.bridge import CheckoutBridge
from xkeb_plugins.methods.easyeditor.package import having
from xkeb_plugins.methods.easyeditor.requests import statistics
from xkeb_plugins.methods.easyeditor.spread import Run, SpreadBridge

MAIN = "models.alphaedit.AlphaEdit_main"


@dataclass
class EasyEditorAlphaEdit(CheckoutBridge, SpreadBridge, AlphaEdit):
    """AlphaEdit by EasyEdit's own code; needs a checkout (`path`).

    Options, sampled prefixes and second moments are those of `AlphaEdit`. The projection is made by its code, and handed to it
    for each edit, as is what it keeps of earlier edits: no file is written.
    """

    called: ClassVar[str] = "easyeditor-alphaedit"
    modules: ClassVar[tuple[str, ...]] = (MAIN,)

    def unsupported(self, backbone: Backbone, edit: Edit) -> str | None:
        """As of its MEMIT, and an edit whose prompt has the subject twice."""
        if (reason := super().unsupported(backbone, edit)) is not None:
            return reason
        if edit.prompt.count(edit.subject) > 1:
            return "the subject more than once in the prompt, which EasyEdit's AlphaEdit can't take"
        return None

    def digest_moment(self, moment: torch.Tensor, n_texts: int) -> torch.Tensor:
        """The projection on what may be written to, as its code makes it."""
        anonymous = SimpleNamespace(config=SimpleNamespace(_name_or_path=""))
        parameters = SimpleNamespace(
            rewrite_module_tmp="",
            mom2_dataset="",
            mom2_n_samples=0,
            mom2_dtype="float32",
            stats_dir="",
            device=str(moment.device),
            nullspace_threshold=known(self.nullspace_threshold),
        )
        main = self.its(MAIN)
        with having(main, COV_CACHE={}, layer_stats=statistics({"": moment}), print=lambda *_: None):
            projection: torch.Tensor = main.get_project(anonymous, None, 0, parameters)
        return projection

    def edit_after(
        self, backbone: Backbone, edits: Sequence[Edit], past: KeySums
    ) -> tuple[LowRankChange, dict[str, torch.Tensor]]:
        me = self.configure(backbone.spec)
        layers = known(me.layers)
        width = backbone.layout.intermediate_size
        sums = torch.stack([past.get(str(layer), torch.zeros(width, width)).float() for layer in layers])
        change = me._run(backbone, edits, cache_c=sums)  # to which its code adds
        return change, {str(layer): total for layer, total in zip(layers, sums, strict=True)}

    def _run(self, backbone: Backbone, edits: Sequence[Edit], **caches: Any) -> LowRankChange:
        projections = self._digested(backbone, sorted({edit.language for edit in edits}))
        stacked = torch.stack([projections[layer] for layer in known(self.layers)])
        caches = {"P": stacked, "cache_c": torch.zeros_like(stacked), **caches}
        return super()._run(backbone, edits, **caches)

    def execute(self, backbone: Backbone, run: Run) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        _, facts, _ = run
        updates = self.its(MAIN).execute_AlphaEdit(backbone.model, *run)
        return {
            name: factored(as_stored(backbone.module(name.removesuffix(".weight")), update), len(facts))
            for name, update in updates.items()
        }

    def _hyper_parameters(self, backbone: Backbone) -> Any:
        return self.its("models.alphaedit.AlphaEdit_hparams").AlphaEditHyperParams(
            mom2_update_weight=1,
            nullspace_threshold=self.nullspace_threshold,
            L2=self.l2,
            P_loc="",
            **self._values(backbone),
        )


def factored(update: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An update [d_out, d_in] of a known rank as left [d_out, rank] and right [rank, d_in]: projected on what its columns span.

    Two rounds of subspace iteration (Halko et al., 2011, Algorithm 4.4): after the first, what its rounding adds in other
    directions may still be in the way.
    """
    matrix = update.double()
    draws = torch.randn(matrix.shape[1], rank, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, _ = torch.linalg.qr(matrix @ draws.to(matrix.device))
    right, _ = torch.linalg.qr(matrix.T @ left)
    left, _ = torch.linalg.qr(matrix @ right)
    return left.float(), (left.T @ matrix).float()
