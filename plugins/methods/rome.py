"""ROME: rank-one model editing (Meng et al., 2022, https://arxiv.org/abs/2202.05262)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from xkeb.backbone import Backbone
from xkeb.changes import LowRankChange
from xkeb.editor import scaled
from xkeb.errors import RequestError
from xkeb.types import Case, Edit
from xkeb_plugins.methods.locate.contexts import context_prefixes
from xkeb_plugins.methods.locate.moments import checked_hash, corpus, factor, second_moment
from xkeb_plugins.methods.locate.refusals import unreachable
from xkeb_plugins.methods.locate.stand_ins import stand_ins
from xkeb_plugins.methods.locate.value import Found, ValueOptions, find_values

if TYPE_CHECKING:
    from xkeb.stage import Stage

TUNED: dict[str, dict[str, Any]] = {
    # A norm after the MLP bounds what one layer can add, so the edit sits later; and without the covariance a rank-one
    # update of so narrow a model spills onto unrelated keys. Measured: docs/results.md.
    "gemma3-270m": {"layer": 10, "mom2_adjustment": True, "contexts": ((10, 5),)},
}


@dataclass
class Rome:
    """ROME: a rank-one update of one MLP that maps the subject's key to a value optimised for the new target."""

    in_paper: ClassVar[bool] = True

    layer: int | None = None
    """Edited layer. None: the tuned one, or as deep as layer 5 of LLaMA-7B's 32."""
    steps: int = 25
    """Most Adam steps of the value."""
    lr: float = 0.5
    kl_factor: float = 0.0625
    weight_decay: float = 1e-3
    clamp: float = 4.0
    """Largest norm of the value's change, in norms of the value."""
    stop_loss: float = 5e-2
    """The value is good enough below this loss."""
    contexts: tuple[tuple[int, int], ...] | None = None
    """(tokens, how many) of the sampled prefixes. None: the tuned ones, or the paper's ((5, 10), (10, 10))."""
    context_templates: tuple[str, ...] | None = None
    """Prefixes to use instead of sampled ones, such as ``"In short. "``; the bare prompt is always among them."""
    mom2_adjustment: bool | None = None
    """Whether the key is decorrelated by the inverse second moment of keys (Eq. 2). None: the tuned choice, or no, as in
    EasyEdit's settings for LLaMA."""
    mom2_corpus: str = "task"
    """Text for the second moments: ``task`` (its training questions), ``wikipedia`` (in the languages of the edits), a data
    set, or a file with one text a line."""
    mom2_samples: int = 3000
    """Most texts of that corpus."""
    mom2_sha256: str | None = None
    """Hash that a text file given as `mom2_corpus` must have. None: of what it holds; the result says which."""
    seed: int = 0
    """Of the sampled prefixes."""

    _questions: Sequence[Case] | None = field(default=None, init=False, repr=False, compare=False)

    def settle(self, backbone: Backbone) -> Self:
        """Options that depend on the backbone, filled in."""
        tuned: dict[str, Any] = {
            "layer": scaled(5, 32, backbone),
            "contexts": ((5, 10), (10, 10)),
            "mom2_adjustment": False,
        }
        tuned |= TUNED.get(backbone.name, {})
        chosen = {name: value for name, value in tuned.items() if getattr(self, name) is None}
        chosen["mom2_sha256"] = checked_hash(self.mom2_corpus, self.mom2_sha256)
        editor = dataclasses.replace(self, **chosen)
        editor._questions = self._questions
        if not 0 <= (editor.layer or 0) < backbone.n_layers:
            raise RequestError(
                f"rome.layer is {editor.layer}; {backbone.name!r} has layers 0 to {backbone.n_layers - 1}."
            )
        return editor

    def learns(self) -> bool:
        """Whether training questions are needed, for the second moments."""
        return bool(self.mom2_adjustment) and self.mom2_corpus == "task"

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Measures the second moments, where they are wanted, over the corpus in question."""
        self._questions = cases
        self.settle(backbone)._cholesky(backbone, sorted({case.edit.language for case in cases}))

    def refuses(self, backbone: Backbone, edit: Edit) -> str | None:
        """An edit whose subject can't be located, or whose answer the edited layer can't reach from there."""
        me = self if self.layer is not None else self.settle(backbone)
        assert me.layer is not None
        return unreachable(backbone, edit, me.layer)

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One rank-one change of a down-projection for each edit."""
        me = self.settle(backbone)
        assert me.layer is not None and me.contexts is not None
        prefixes = (
            ("", *me.context_templates)
            if me.context_templates is not None
            else context_prefixes(backbone, me.contexts, me.seed)
        )
        options = ValueOptions(me.steps, me.lr, me.kl_factor, me.weight_decay, me.clamp, me.stop_loss)
        found = find_values(backbone, edits, me.layer, prefixes, options)
        lower = me._cholesky(backbone, sorted({edit.language for edit in edits}))
        path = backbone.layout.down(me.layer)
        return [LowRankChange({path: rank_one(fact, lower)}) for fact in found]

    def rehearse(self, stage: Stage, edits: Sequence[Edit]) -> list[LowRankChange]:
        """An edit without weights, for what it needs."""
        me = self.settle(stage.backbone)
        if me.context_templates is None:
            assert me.contexts is not None
            me.context_templates = stand_ins(stage.backbone, me.contexts)
        me.mom2_corpus = "task"  # texts of other lengths go into batches of the same size
        if me.mom2_adjustment:
            with stage.phase("fit"):
                me.fit(stage.backbone, stage.longest())

        def edit(steps: int) -> list[LowRankChange]:
            me.steps = steps
            return me.edit(stage.backbone, edits)

        return stage.in_steps(me.steps, edit)

    def _cholesky(self, backbone: Backbone, languages: Sequence[str]) -> torch.Tensor | None:
        """Of the second moment of keys, [d_in, d_in] float64; None without the adjustment.

        Args:
            languages: those that Wikipedia is taken in.
        """
        if not self.mom2_adjustment:
            return None
        assert self.layer is not None
        texts = corpus(self.mom2_corpus, self._questions, self.mom2_samples, languages)
        moment = second_moment(backbone, [self.layer], texts)[self.layer]
        return factor(moment.to(backbone.device), len(texts))


def rank_one(fact: Found, lower: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The update ``left @ right`` after which the bare key gives the new value (Eq. 2).

    ``u = C^-1 k / |C^-1 k|`` and ``W + (v* - v) u^T / (k_bare . u)``, where k is the mean key over the prefixes.

    Args:
        lower: Cholesky factor of C, [d_in, d_in]; None takes C = I.

    Returns:
        left [d_out, 1], right [1, d_in], float32.
    """
    u = fact.key if lower is None else torch.cholesky_solve(fact.key.double().unsqueeze(1), lower).squeeze(1)
    u = (u / u.norm()).float()
    left = (fact.new_value - fact.old_value) / (fact.bare_key @ u)
    return left.unsqueeze(1), u.unsqueeze(0)
