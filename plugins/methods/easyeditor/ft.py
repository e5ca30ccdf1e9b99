"""FT by EasyEdit's own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from xkeb.editing.changes import DenseChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import known
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.layout import as_stored
from xkeb.types import Edit
from xkeb_plugins.methods.easyeditor.bridge import TokensBridge
from xkeb_plugins.methods.easyeditor.dry_run import two_for_all
from xkeb_plugins.methods.easyeditor.requests import module_paths, request
from xkeb_plugins.methods.easyeditor.sandbox import sandbox
from xkeb_plugins.methods.ft import FineTuning


@dataclass
class EasyEditorFineTuning(TokensBridge, FineTuning):
    """FT by EasyEdit's own code; needs `pip install --no-deps easyeditor==0.0.1.dev0 einops`, or a checkout (`path`).

    Options are those of `FineTuning`, and the bound of `BoundedFineTuning`. Where the down-projection has a bias, that is tuned
    as well.
    """

    called: ClassVar[str] = "easyeditor-ft"
    modules: ClassVar[tuple[str, ...]] = ("models.ft.ft_main",)

    norm_constraint: float | None = None
    """Largest change of a single weight; None for no bound, as in its settings for LLaMA."""
    objective: Literal["prompt_last", "target_new"] = "prompt_last"
    """Where the answer's tokens are predicted: all at the question's last token, or each after those before it, which is FT-M
    and needs a checkout."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective != "prompt_last" and not self.code.is_checkout:
            raise RequestError(
                f"{self.called}.objective is {self.objective}, which {self.code.name} hasn't: give {self.called}.path."
            )
        if self.stop_loss != 1e-2:
            raise ValueError("stop_loss is 0.01 in EasyEdit's code, whatever is asked for")

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[DenseChange]:
        """One dense change of a down-projection for each edit, one after the other."""
        me = self.configure(backbone.spec)
        return [me._edit_one(backbone, edit) for edit in edits]

    def _edit_dry(self, session: DryRunSession, edits: Sequence[Edit]) -> list[DenseChange]:
        return two_for_all(session, edits, lambda edit: self.edit(session.backbone, [edit])[0])

    def _edit_one(self, backbone: Backbone, edit: Edit) -> DenseChange:
        fact = request(edit)
        tokenizer = self.tokenizer(backbone, [edit], answered=self.code.is_checkout)
        path = backbone.layout.down(known(self.layer))
        own = [f"{path}.{name}" for name, _ in backbone.module(path).named_parameters()]
        with sandbox(backbone, own):
            deltas = self.its("models.ft.ft_main").execute_ft(
                backbone.model, tokenizer, [fact], self._hyper_parameters(backbone)
            )
        return DenseChange({name: as_stored(backbone.module(path), delta) for name, delta in deltas.items()})

    def _hyper_parameters(self, backbone: Backbone) -> Any:
        return self.its("models.ft.ft_hparams").FTHyperParams(
            layers=[self.layer],
            num_steps=self.steps,
            lr=self.lr,
            weight_decay=0,
            kl_factor=0,
            norm_constraint=self.norm_constraint,
            **module_paths(backbone),
            **({"objective_optimization": self.objective} if self.code.is_checkout else {}),
            **self.common(backbone),
        )
