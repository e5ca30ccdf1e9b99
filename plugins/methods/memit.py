"""MEMIT: mass-editing memory in a transformer (Meng et al., 2023, https://arxiv.org/abs/2210.07229)."""

from __future__ import annotations

import dataclasses
import itertools
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
from xkeb_plugins.methods.locate.normed import writable
from xkeb_plugins.methods.locate.refusals import unreachable
from xkeb_plugins.methods.locate.sites import Seen, Sites
from xkeb_plugins.methods.locate.stand_ins import stand_ins
from xkeb_plugins.methods.locate.value import Found, ValueOptions, find_values
from xkeb_plugins.methods.locate.wikipedia import at_hand

if TYPE_CHECKING:
    from xkeb.stage import Stage

TUNED: dict[str, dict[str, Any]] = {
    # The last layer is ROME's, for the same reason. Keys of so narrow a model weigh little against 15000 times the second
    # moment: few edits hold. From 100 to 1000 the scores of ten records a language were the same within a point.
    "gemma3-270m": {"layers": (7, 8, 9, 10), "mom2_update_weight": 1000.0},
}

VALUES_AT_ONCE = 8
"""Edits whose values are optimised in one batch, where many facts go into one change."""


@dataclass
class Memit:
    """MEMIT: least-squares updates of a few layers' MLPs that together move the residual stream to optimised values."""

    in_paper: ClassVar[bool] = True

    layers: tuple[int, ...] | None = None
    """Edited layers, from low to high. None: the tuned ones, or as deep as layers 4 to 8 of LLaMA-7B's 32."""
    steps: int = 25
    """Most Adam steps of a value."""
    lr: float = 0.5
    kl_factor: float = 0.0625
    weight_decay: float = 1e-3
    clamp: float = 4.0
    """Largest norm of the value's change, in norms of the value."""
    stop_loss: float = 5e-2
    """The value is good enough below this loss."""
    mom2_update_weight: float | None = None
    """How much what the layers hold already weighs against a new fact: lambda in Eq. 15. None: the tuned one, or 15000."""
    contexts: tuple[tuple[int, int], ...] | None = None
    """(tokens, how many) of the sampled prefixes. None: the tuned ones, or ((10, 5),) as in the released code."""
    context_templates: tuple[str, ...] | None = None
    """Prefixes to use instead of sampled ones, such as ``"In short. "``; the bare prompt is always among them."""
    mom2_corpus: str = "auto"
    """Text for the second moments: ``wikipedia`` (in the languages of the edits; the authors' setting), ``task`` (its training
    questions), a data set, or a file with one text a line. ``auto`` is Wikipedia where the hub answers or the texts are
    kept already, and the training questions elsewhere; the result says which."""
    mom2_samples: int = 3000
    """Most texts of that corpus."""
    mom2_sha256: str | None = None
    """Hash that a text file given as `mom2_corpus` must have. None: of what it holds; the result says which."""
    seed: int = 0
    """Of the sampled prefixes."""

    _questions: Sequence[Case] | None = field(default=None, init=False, repr=False, compare=False)
    _factors: dict[tuple[Any, ...], dict[int, torch.Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def settle(self, backbone: Backbone) -> Self:
        """Options that depend on the backbone, or on what is at hand, filled in."""
        tuned: dict[str, Any] = {
            "layers": tuple(sorted({scaled(layer, 32, backbone) for layer in range(4, 9)})),
            "mom2_update_weight": 15000.0,
            "contexts": ((10, 5),),
        }
        tuned |= TUNED.get(backbone.name, {})
        chosen = {name: value for name, value in tuned.items() if getattr(self, name) is None}
        chosen["mom2_corpus"] = self._corpus()
        chosen["mom2_sha256"] = checked_hash(chosen["mom2_corpus"], self.mom2_sha256)
        editor = dataclasses.replace(self, **chosen)
        editor._questions, editor._factors = self._questions, self._factors
        layers = editor.layers or ()
        rising = all(low < high for low, high in itertools.pairwise(layers))
        if not layers or not rising or not 0 <= layers[0] <= layers[-1] < backbone.n_layers:
            raise RequestError(
                f"memit.layers is {list(layers)}; layers of {backbone.name!r}, from 0 to {backbone.n_layers - 1}, were "
                f"expected, each above the one before."
            )
        return editor

    def learns(self) -> bool:
        """Whether training questions are needed, for the second moments."""
        return self._corpus() == "task"

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Measures the second moments over the training questions."""
        self._questions = cases
        self._factors.clear()
        self.settle(backbone)._cholesky(backbone, sorted({case.edit.language for case in cases}))

    def refuses(self, backbone: Backbone, edit: Edit) -> str | None:
        """An edit whose subject can't be located, or whose answer the last edited layer can't reach from there."""
        me = self if self.layers else self.settle(backbone)
        assert me.layers
        return unreachable(backbone, edit, me.layers[-1])

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One change of some down-projections for each edit, of rank one each, as if it were the only one."""
        me = self.settle(backbone)
        return me._write(backbone, edits, me._find(backbone, edits), [[i] for i in range(len(edits))])

    def rehearse(self, stage: Stage, edits: Sequence[Edit]) -> list[LowRankChange]:
        """An edit without weights, for what it needs."""
        # Texts of other lengths than the task's questions go into batches of the same size.
        me = dataclasses.replace(self, mom2_corpus="task", mom2_sha256=None).settle(stage.backbone)
        if me.context_templates is None:
            assert me.contexts is not None
            me.context_templates = stand_ins(stage.backbone, me.contexts)
        with stage.phase("fit"):
            me.fit(stage.backbone, stage.longest())
        stage.staying.append(me)

        def edit(steps: int) -> list[LowRankChange]:
            me.steps = steps
            return me.edit(stage.backbone, edits)

        return stage.in_steps(me.steps, edit)

    def edit_together(self, backbone: Backbone, edits: Sequence[Edit]) -> LowRankChange:
        """One change that makes all the edits."""
        return self.write(backbone, edits, self.find(backbone, edits))

    def find(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Found]:
        """The values that `write` writes."""
        me = self.settle(backbone)
        chunks = (edits[start : start + VALUES_AT_ONCE] for start in range(0, len(edits), VALUES_AT_ONCE))
        return [found for chunk in chunks for found in me._find(backbone, chunk)]

    def write(self, backbone: Backbone, edits: Sequence[Edit], found: Sequence[Found]) -> LowRankChange:
        """One change that makes all the edits, each with its value as found."""
        me = self.settle(backbone)
        (change,) = me._write(backbone, edits, found, [range(len(edits))])
        return change

    def _prefixes(self, backbone: Backbone) -> list[tuple[str, ...]]:
        """The prefixes, in the groups over which keys are averaged: the empty one, then those of each length."""
        assert self.contexts is not None
        if self.context_templates is not None:
            return [group for group in (("",), self.context_templates) if group]
        texts = context_prefixes(backbone, self.contexts, self.seed)
        groups, start = [texts[:1]], 1
        for _, count in self.contexts:
            groups.append(texts[start : start + count])
            start += count
        return [group for group in groups if group]

    def _find(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Found]:
        """Each edit's value at the output of the last edited layer, with delta of Eq. 16 added.

        Behind a norm on the MLP's output the value is that of the down-projection, before the norm, so that the last layer
        can write by itself whatever is found. In the stream the same steps get nowhere, since its norm is in the thousands
        there, and with longer ones (lr 10) fewer edits hold and fewer carry over to other wordings.
        """
        assert self.layers is not None
        last = self.layers[-1]
        prefixes = [prefix for group in self._prefixes(backbone) for prefix in group]
        options = ValueOptions(self.steps, self.lr, self.kl_factor, self.weight_decay, self.clamp, self.stop_loss)
        normed = backbone.layout.after_mlp(last) is not None
        module = backbone.layout.down(last) if normed else backbone.layout.layer(last)
        return find_values(backbone, edits, last, prefixes, options, module)

    def _moves(self, backbone: Backbone, found: Sequence[Found]) -> torch.Tensor:
        """What should be added to the residual stream that leaves the last edited layer, [n, hidden_size]: z - h."""
        assert self.layers is not None
        old, new = (torch.stack([getattr(fact, name) for fact in found]) for name in ("old_value", "new_value"))
        path = backbone.layout.after_mlp(self.layers[-1])
        if path is None:
            return new - old
        norm = backbone.module(path)
        with torch.no_grad():
            return norm(new) - norm(old)

    def _write(
        self, backbone: Backbone, edits: Sequence[Edit], found: Sequence[Found], groups: Sequence[Sequence[int]]
    ) -> list[LowRankChange]:
        """One change for each group of edits, layer by layer from below, each measured under the updates of its own
        change to the layers before (Algorithm 1)."""
        assert self.layers is not None and self.mom2_update_weight is not None
        sites = Sites(backbone, edits, self._prefixes(backbone))
        wanted = self._moves(backbone, found)  # (n, D)
        changes = [LowRankChange({}) for _ in groups]
        untouched: torch.Tensor | None = None
        for i, layer in enumerate(self.layers):
            seen = _under(backbone, changes, sites, layer, self.layers[-1])
            untouched = seen.hidden if untouched is None else untouched
            # z - h over the layers that are left (Eq. 20); as a difference, so that nothing is written of what is there.
            residual = (wanted - (seen.hidden - untouched)) / (len(self.layers) - i)
            path = backbone.layout.after_mlp(layer)
            if path is not None:
                residual = writable(backbone.module(path), seen.outputs, residual)
            lowers: dict[tuple[str, ...], torch.Tensor] = {}
            for change, group in zip(changes, groups, strict=True):
                members = list(group)
                spoken = tuple(sorted({edits[k].language for k in members}))
                if spoken not in lowers:
                    lowers[spoken] = self._cholesky(backbone, spoken)[layer].to(backbone.device)
                change.factors[backbone.layout.down(layer)] = update(
                    residual[members], seen.keys[members], lowers[spoken], self.mom2_update_weight
                )
        return changes

    def _cholesky(self, backbone: Backbone, languages: Sequence[str]) -> dict[int, torch.Tensor]:
        """Of each layer's second moment of keys, [d_in, d_in] float64 on the host: made once for a backbone and a corpus. On a
        card they would take a gigabyte a layer of a 7B model."""
        assert self.layers is not None
        spoken = tuple(languages) if self.mom2_corpus == "wikipedia" else ()
        key = (backbone.sha256, backbone.dtype, backbone.device, self.layers, spoken)
        if key not in self._factors:
            texts = corpus(self.mom2_corpus, self._questions, self.mom2_samples, spoken)
            moments = second_moment(backbone, self.layers, texts)
            self._factors[key] = {
                layer: factor(moment.to(backbone.device), len(texts)).cpu() for layer, moment in moments.items()
            }
        return self._factors[key]

    def _corpus(self) -> str:
        """`mom2_corpus`, with ``auto`` decided."""
        if self.mom2_corpus != "auto":
            return self.mom2_corpus
        return "wikipedia" if at_hand(self.mom2_samples) else "task"


def _under(backbone: Backbone, changes: Sequence[LowRankChange], sites: Sites, layer: int, last: int) -> Seen:
    """What stands at the sites under the changes as far as they are made: one for all sites, or one for each."""
    if not changes[0].factors:
        return sites.look(layer, last)
    if len(changes) == 1:
        with changes[0].applied(backbone):
            return sites.look(layer, last)
    with LowRankChange.together(backbone, changes).applied(backbone) as rows:
        return sites.look(layer, last, rows)


def update(
    residual: torch.Tensor, keys: torch.Tensor, lower: torch.Tensor, weight: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The update ``R K^T (lambda C + K K^T)^-1`` (Eq. 14 and 15) as ``left @ right``.

    With few columns in K, the Woodbury identity leaves the factor of C as it is:
    ``K^T (lambda C + K K^T)^-1 = (lambda I + K^T C^-1 K)^-1 K^T C^-1``.

    Args:
        residual: [n, d_out] R, a fact a row.
        keys: [n, d_in] K, a fact a row.
        lower: Cholesky factor of C, [d_in, d_in] float64.

    Returns:
        left [d_out, n], right [n, d_in], float32.
    """
    columns = keys.double().T
    solved = torch.cholesky_solve(columns, lower)  # (d_in, n)
    inner = columns.T @ solved + weight * torch.eye(len(keys), dtype=torch.float64, device=keys.device)
    return residual.float().T, torch.linalg.solve(inner, solved.T).float()
