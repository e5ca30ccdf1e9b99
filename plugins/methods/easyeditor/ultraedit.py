"""UltraEdit by EasyEdit's own code."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch

from xkeb.editing.changes import Change, LowRankChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.session import State
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.easyeditor.alphaedit import factored
from xkeb_plugins.methods.easyeditor.bridge import CheckoutBridge, TokensBridge
from xkeb_plugins.methods.easyeditor.dry_run import two_for_all
from xkeb_plugins.methods.easyeditor.requests import request
from xkeb_plugins.methods.easyeditor.sandbox import sandbox
from xkeb_plugins.methods.easyeditor.tokens import Given
from xkeb_plugins.methods.ultraedit.editor import UltraEdit

MAIN = "models.ultraedit.ultraedit_main"
IGNORED = -100
"""The label of a token that is none of the answer's."""


@dataclass
class EasyEditorUltraEdit(CheckoutBridge, TokensBridge, UltraEdit):
    """UltraEdit by EasyEdit's own code; needs a checkout (`path`).

    Options are those of `UltraEdit`. Its normalizer sees the same training facts, one by one, and then the edit.
    """

    called: ClassVar[str] = "easyeditor-ultraedit"
    modules: ClassVar[tuple[str, ...]] = (MAIN,)

    token: Literal["mask", "ans"] = "mask"
    """Whose inputs and gradients it reads: all tokens' (its settings), or those that predict the answer. On its own tokens
    ``ans`` reads the first ones of the question, as many as the answer has."""

    _seen: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """By the hash of a backbone's weights, what its normalizer keeps after the warm-up."""

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Shows its normalizer the first training facts."""
        me = self.configure(backbone.spec)
        facts = [case.edit for case in cases if me.unsupported(backbone, case.edit) is None][: me.warmup]
        seen: dict[str, torch.Tensor] = {}
        for fact in facts:  # apart, since the tokens of one answer may be others behind another question
            _, seen = me._run(backbone, [fact], seen, learning=False)
        self._seen[backbone.sha256] = seen

    def unsupported(self, backbone: Backbone, edit: Edit) -> str | None:
        """An answer of one token, where it reads the answer's only: its code has no deviation of one."""
        text = backbone.encode(edit.prompt, edit.target, edit.language)
        if self.token == "ans" and len(text.continuation_ids) == 1:
            return "an answer of one token, of which EasyEdit's UltraEdit computes no deviation"
        return super().unsupported(backbone, edit)

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One change of the matrices for each edit, one after the other, each as the first after the warm-up."""
        me = self.configure(backbone.spec)
        return [me._after_warmup(backbone, [edit]) for edit in edits]

    def edit_together(self, backbone: Backbone, edits: Sequence[Edit]) -> LowRankChange:
        """One change that makes all the edits, the first after the warm-up."""
        return self.configure(backbone.spec)._after_warmup(backbone, edits)

    def edit_after(self, backbone: Backbone, edits: Sequence[Edit], past: State) -> tuple[Change, State]:  # type: ignore[override]
        """One change that makes the edits, after those that its normalizer saw before."""
        me = self.configure(backbone.spec)
        return me._run(backbone, edits, past or me._warm_state(backbone))

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        me = copy.copy(self.configure(session.backbone.spec))
        me._seen = {}
        if me.warmup:
            with session.phase("fit"):
                me.fit(session.backbone, session.training)
        return two_for_all(session, edits, lambda edit: me.edit(session.backbone, [edit])[0])

    def _after_warmup(self, backbone: Backbone, edits: Sequence[Edit]) -> LowRankChange:
        change, _ = self._run(backbone, edits, self._warm_state(backbone))
        return change

    def _warm_state(self, backbone: Backbone) -> Mapping[str, torch.Tensor]:
        if self.warmup and backbone.sha256 not in self._seen:
            raise RequestError("UltraEdit's normaliser is warmed by training facts: call fit() first.")
        return self._seen.get(backbone.sha256, {})

    def _run(
        self, backbone: Backbone, edits: Sequence[Edit], past: Mapping[str, torch.Tensor], *, learning: bool = True
    ) -> tuple[LowRankChange, dict[str, torch.Tensor]]:
        """The change, and what its normalizer keeps.

        Args:
            learning: whether there is to be a change.
        """
        _, paths = self._matrices(backbone)
        main = self.its(MAIN)
        executor = main.UltraEditRewriteExecutor()
        shifts: dict[str, torch.Tensor] = {}
        ranks: list[int] = []
        with sandbox(backbone, [f"{path}.weight" for path in paths]):
            parameters = self._hyper_parameters(backbone, paths, edits)
            executor.init_model(backbone.model, self._tokenizer(backbone, edits), parameters)
            executor.is_init = True
            normalizer = executor.alg.lifelong_normalizer
            normalizer.load_state_dict({**normalizer.state_dict(), **past})
            predict = executor.alg.predict_param_shifts

            def observed(seen: Mapping[int, Mapping[int, Mapping[str, torch.Tensor]]]) -> dict[str, torch.Tensor]:
                if learning:
                    ranks.append(sum(len(one["keys"]) for one in seen[0].values()))
                    shifts.update(predict(seen))
                return shifts

            executor.alg.predict_param_shifts = observed
            executor.apply_to_model(backbone.model, executor.tokenizer, list(map(request, edits)), executor.alg.config)
            state = {name: tensor.detach().clone() for name, tensor in normalizer.state_dict().items()}
        factors = {path: factored(shift.T, min(ranks[0], *shift.shape)) for path, shift in shifts.items()}
        return LowRankChange(factors), state

    def _tokenizer(self, backbone: Backbone, edits: Sequence[Edit]) -> Any:
        tokenizer = self.tokenizer(backbone, edits, answered=True)
        if self.tokens == "easyeditor" or self.token == "mask":
            return tokenizer
        return _Aligned(tokenizer, [f" {edit.target}" for edit in edits])

    def _hyper_parameters(self, backbone: Backbone, paths: Sequence[str], edits: Sequence[Edit]) -> Any:
        return self.its("models.ultraedit.ultraedit_hparams").UltraEditHyperParams(
            model_class="AutoModelForCausalLM",
            tokenizer_class="AutoTokenizer",
            tokenizer_name="",
            inner_params=list(paths),
            dropout=0.0,
            no_grad_layers=None,
            batch_size=len(edits),
            lr=self.lr,
            token=self.token,
            batch_size_once=1,
            editor_batch_size=1024,
            silent=True,
            results_dir="",
            half=False,
            **self.common(backbone),
        )


class _Aligned(Given):
    """Gives answers so long that its labels stand beside what they are predicted from, in the text asked for before."""

    def __init__(self, given: Given, answers: Sequence[str]) -> None:
        super().__init__(given.backbone, given.ids_by_text, given.padding_side)
        self.answers = set(answers)
        self._length = 0

    def _ids(self, text: str) -> list[int]:
        ids = super()._ids(text)
        if text in self.answers:
            return [IGNORED] * (self._length - 1 - len(ids)) + ids
        self._length = len(ids)
        return ids
