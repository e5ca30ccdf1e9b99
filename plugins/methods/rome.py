"""ROME: rank-one model editing (Meng et al., 2022, https://arxiv.org/abs/2202.05262)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import torch
from pydantic import PositiveInt

from xkeb.editing.changes import LowRankChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor, known
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.spec import ModelSpec
from xkeb.types import Case, Edit, Sight
from xkeb_plugins.methods.locate.context_templates import as_prefixes, context_prefixes
from xkeb_plugins.methods.locate.covariance import (
    check_corpus_hash,
    cholesky_factor,
    corpus_files,
    corpus_texts,
    key_covariance,
)
from xkeb_plugins.methods.locate.dry_run import dry_run_moments
from xkeb_plugins.methods.locate.optimize_value import KeyValue, ValueOptions, optimize_values
from xkeb_plugins.methods.locate.placeholders import placeholder_prefixes
from xkeb_plugins.methods.locate.reachability import why_unreachable
from xkeb_plugins.methods.tuned import tuned_settings


@dataclass
class Rome(Editor):
    """ROME: a rank-one update of one MLP that maps the subject's key to a value optimised for the new target."""

    name: ClassVar[str] = "rome"
    """What its messages and tuned settings go by."""
    in_paper: ClassVar[bool] = True
    learns_from_any_text: ClassVar[bool] = True
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING})

    layer: int | None = None
    """Edited layer. None: the tuned one, or as deep as layer 5 of LLaMA-7B's 32."""
    steps: PositiveInt = 25
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
    """Prefixes to use instead of sampled ones, such as ``"In short. "``, or with EasyEdit's ``{}`` for the prompt,
    ``"In short. {}"``; the bare prompt is always among them."""
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

    def configure(self, spec: ModelSpec) -> Self:
        usual = {"layer": spec.scale_layer(5, of=32), "contexts": ((5, 10), (10, 10)), "mom2_adjustment": False}
        corpus_hash = check_corpus_hash(self.mom2_corpus, self.mom2_sha256)
        me = self.filled(usual | tuned_settings(self.name, spec) | {"mom2_sha256": corpus_hash})
        if not 0 <= known(me.layer) < spec.n_layers:
            raise RequestError(f"{self.name}.layer is {me.layer}; {spec.name!r} has layers 0 to {spec.n_layers - 1}.")
        return me

    def reads(self) -> list[Path]:
        """The files of a corpus of its own."""
        return corpus_files(self.mom2_corpus)

    def needs_training(self) -> bool:
        """Whether training questions are needed, for the second moments."""
        return bool(self.mom2_adjustment) and self.mom2_corpus == "task"

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Measures the second moments, where they are wanted, over the corpus in question."""
        self._questions = cases
        self.configure(backbone.spec)._cholesky(backbone, sorted({case.edit.language for case in cases}))

    def unsupported(self, backbone: Backbone, edit: Edit) -> str | None:
        """An edit whose subject can't be located, or whose answer the edited layer can't reach from there."""
        return why_unreachable(backbone, edit, known(self.configure(backbone.spec).layer))

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One rank-one change of a down-projection for each edit."""
        me = self.configure(backbone.spec)
        layer = known(me.layer)
        prefixes = me.prefixes(backbone)
        options = ValueOptions(me.steps, me.lr, me.kl_factor, me.weight_decay, me.clamp, me.stop_loss)
        facts = optimize_values(backbone, edits, layer, prefixes, options)
        lower = me._cholesky(backbone, sorted({edit.language for edit in edits}))
        path = backbone.layout.down(layer)
        return [LowRankChange({path: me.update(fact, lower)}) for fact in facts]

    def update(self, fact: KeyValue, lower: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The update after which the bare key gives the new value; its direction is that of the mean key (Eq. 2)."""
        return rank_one(fact.key, fact.bare_key, fact.new_value - fact.old_value, lower)

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        me = self.configure(session.backbone.spec)
        if me.context_templates is None:
            me.context_templates = placeholder_prefixes(session.backbone, known(me.contexts))
        me.mom2_corpus, me.mom2_sha256 = "task", None
        if me.mom2_adjustment:
            with session.phase("fit"):
                facts = dry_run_moments(session, [known(me.layer)], self.mom2_corpus, self.mom2_samples)
                me.fit(session.backbone, facts)

        def edit(steps: int) -> list[LowRankChange]:
            me.steps = steps
            return me._edit_dry(session, edits)

        return session.in_steps(me.steps, edit)

    def _edit_dry(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        return self.edit(session.backbone, edits)

    def prefixes(self, backbone: Backbone) -> tuple[str, ...]:
        """What stands before the prompt, the empty prefix first."""
        if self.context_templates is not None:
            return ("", *as_prefixes(self.context_templates))
        return context_prefixes(backbone, known(self.contexts), self.seed)

    def _cholesky(self, backbone: Backbone, languages: Sequence[str]) -> torch.Tensor | None:
        """Of the second moment of keys, [d_in, d_in] float64; None without the adjustment.

        Args:
            languages: those that Wikipedia is taken in.
        """
        if not self.mom2_adjustment:
            return None
        layer = known(self.layer)
        texts = corpus_texts(self.mom2_corpus, self._questions, self.mom2_samples, languages)
        moment = key_covariance(backbone, [layer], texts)[layer]
        return cholesky_factor(moment.to(backbone.device), len(texts))


def rank_one(
    key: torch.Tensor, written_key: torch.Tensor, move: torch.Tensor, lower: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The update ``left @ right`` that adds `move` to the value of `written_key` (Eq. 2).

    ``u = C^-1 k / |C^-1 k|`` and ``move u^T / (k_written . u)``.

    Args:
        key: [d_in] k, whose decorrelated direction the update has.
        written_key: [d_in] the key that gets the new value.
        move: [d_out]
        lower: Cholesky factor of C, [d_in, d_in]; None takes C = I.

    Returns:
        left [d_out, 1], right [1, d_in], float32.
    """
    u = key if lower is None else torch.cholesky_solve(key.double().unsqueeze(1), lower).squeeze(1)
    u = (u / u.norm()).float()
    left = move / (written_key @ u)
    return left.unsqueeze(1), u.unsqueeze(0)
