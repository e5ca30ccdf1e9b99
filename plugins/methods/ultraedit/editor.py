"""UltraEdit: training-, subject- and memory-free editing (Gu et al., 2025, https://arxiv.org/abs/2505.14679)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch

from xkeb.editing.changes import LowRankChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor, known
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.layout import widths
from xkeb.models.spec import ModelSpec
from xkeb.types import Case, Edit, Sight
from xkeb.utils.artifacts import cached_tensors
from xkeb.utils.hashing import digest
from xkeb_plugins.methods.tuned import tuned_settings
from xkeb_plugins.methods.ultraedit.normalizer import Normalizer, Normalizers, as_tensors, from_tensors
from xkeb_plugins.methods.ultraedit.signals import Signal, Signals, find_matrix, read_signals


@dataclass
class UltraEdit(Editor):
    """UltraEdit: updates of a few matrices, by ridge regression from the normalised gradients of the edits' answers."""

    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING})

    matrices: tuple[str, ...] | None = None
    """Edited matrices, each its layer and a projection of its MLP, such as ``("29.down_proj", "30.down_proj")``. None: the
    tuned ones, or the down-projections as deep as layers 29 and 30 of 32, the authors' for Mistral 7B."""
    lr: float | None = None
    """Step size eta. None: the tuned one, or 1e-6."""
    warmup: int = 100
    """Training facts that the normaliser has seen before the first edit, as many as the authors edit at a time. A single
    edit has no statistics of its own. 0: none, for many edits in one change."""

    _warm: dict[tuple[Any, ...], Normalizers] = field(default_factory=dict, init=False, repr=False, compare=False)

    def configure(self, spec: ModelSpec) -> Self:
        down = spec.layout.down_proj.rpartition(".")[2]
        layers = sorted({spec.scale_layer(layer, of=32) for layer in (29, 30)})
        usual = {"matrices": tuple(f"{layer}.{down}" for layer in layers), "lr": 1e-6}
        me = self.filled(usual | tuned_settings("ultraedit", spec))
        if not me.matrices:
            raise RequestError("ultraedit.matrices is empty; at least one was expected.")
        for name in me.matrices:
            find_matrix(spec.layout, name)
        if me.warmup < 0:
            raise RequestError(f"ultraedit.warmup is {me.warmup}; a number of training facts, 0 or more, was expected.")
        return me

    def needs_training(self) -> bool:
        """Whether training facts are needed, for the normaliser."""
        return self.warmup > 0

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Shows the normaliser the first training facts, or takes it from the cache."""
        me = self.configure(backbone.spec)
        facts = [case.edit for case in cases[: me.warmup]]
        key = {
            "method": "ultraedit",
            "backbone": backbone.sha256,
            "dtype": str(backbone.dtype),
            "prompt": backbone.prompt_key,
            "matrices": known(me.matrices),
            "facts": digest([dataclasses.asdict(fact) for fact in facts]),
        }
        tensors = cached_tensors("normalizers", key, lambda: as_tensors(me._observed(backbone, facts)))
        self._warm[me._place(backbone)] = {path: one.to(backbone.device) for path, one in from_tensors(tensors).items()}

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One change of the matrices for each edit, its rank the number of its answer tokens: each edit as the first after
        the warm-up."""
        me = self.configure(backbone.spec)
        warm = me.normalizers(backbone)
        lowest, paths = me._matrices(backbone)
        changes = []
        for signals in read_signals(backbone, lowest, paths, edits):
            change, _ = me._regress(signals, warm)
            changes.append(change)
        return changes

    def edit_together(self, backbone: Backbone, edits: Sequence[Edit]) -> LowRankChange:
        """One change that makes all the edits, the first after the warm-up."""
        change, _ = self.edit_after(backbone, edits, {})
        return change

    def edit_after(
        self, backbone: Backbone, edits: Sequence[Edit], past: Mapping[str, torch.Tensor]
    ) -> tuple[LowRankChange, dict[str, torch.Tensor]]:
        """One change that makes all the edits, to a model that was edited before.

        Args:
            backbone: with the earlier changes applied.
            past: what this method returned with the change before; empty for the first, which follows the warm-up.

        Returns:
            The change, which comes on top of the earlier ones, and the normalisers, which have seen these edits as well, as
            tensors.
        """
        me = self.configure(backbone.spec)
        known_ones = {
            name: tensor.to(backbone.device) for name, tensor in past.items()
        }  # a saved state comes to the CPU
        before = from_tensors(known_ones) if past else me.normalizers(backbone)
        lowest, paths = me._matrices(backbone)
        each = read_signals(backbone, lowest, paths, edits)
        together = {
            path: Signal(
                torch.cat([signals[path].inputs for signals in each]),
                torch.cat([signals[path].gradients for signals in each]),
            )
            for path in paths
        }
        change, now = me._regress(together, {path: one.to(backbone.device) for path, one in before.items()})
        return change, as_tensors(now)

    def normalizers(self, backbone: Backbone) -> Normalizers:
        """As they are before the first edit: warm, or without warm-up empty.

        Raises:
            RequestError: there should be a warm-up, and `fit` wasn't called.
        """
        me = self.configure(backbone.spec)
        if me.warmup == 0:
            return me._empty(backbone)
        if (place := me._place(backbone)) not in self._warm:
            raise RequestError("UltraEdit's normaliser is warmed by training facts: call fit() first.")
        return self._warm[place]

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        me = dataclasses.replace(self).configure(session.backbone.spec)
        if me.warmup:
            with session.phase("fit"):
                me.fit(session.backbone, session.training)
        session.retained.append(me)
        return me.edit(session.backbone, edits)

    def _matrices(self, backbone: Backbone) -> tuple[int, list[str]]:
        """The lowest layer among the edited matrices, and their paths."""
        found = [find_matrix(backbone.layout, name) for name in known(self.matrices)]
        return min(layer for layer, _ in found), [path for _, path in found]

    def _place(self, backbone: Backbone) -> tuple[Any, ...]:
        return (backbone.sha256, backbone.dtype, backbone.device, known(self.matrices))

    def _empty(self, backbone: Backbone) -> Normalizers:
        _, paths = self._matrices(backbone)
        return {path: Normalizer.empty(sum(widths(backbone.module(path))), backbone.device) for path in paths}

    def _observed(self, backbone: Backbone, facts: Sequence[Edit]) -> Normalizers:
        """The normalisers after some facts, in their order."""
        normalizers = self._empty(backbone)
        lowest, paths = self._matrices(backbone)
        for signals in read_signals(backbone, lowest, paths, facts):
            normalizers = {path: normalizers[path].updated(signals[path].features) for path in paths}
        return normalizers

    def _regress(self, signals: Signals, past: Mapping[str, Normalizer]) -> tuple[LowRankChange, Normalizers]:
        """The change that the signals make, with the normalisers that have seen them."""
        now = {path: past[path].updated(signal.features) for path, signal in signals.items()}
        lr = known(self.lr)
        return LowRankChange({path: regress(signal, now[path], lr) for path, signal in signals.items()}), now


def regress(signal: Signal, normalizer: Normalizer, lr: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The update ``left @ right``, the transpose of ``(H^T H + I)^-1 H^T V`` with ``v = -lr |h'|^2 g'`` for each token.

    h' and g' are normalised, h in H is not. By the push-through identity, ``(H^T H + I)^-1 H^T = H^T (H H^T + I)^-1``: a
    system as small as there are answer tokens.

    Returns:
        left [d_out, t], right [t, d_in], float32.
    """
    normalized = normalizer.normalize(signal.features)
    inputs, gradients = normalized.split([signal.inputs.shape[1], signal.gradients.shape[1]], 1)
    values = -lr * inputs.pow(2).sum(1, keepdim=True) * gradients  # (t, d_out)
    h = signal.inputs.double()
    identity = torch.eye(len(h), dtype=torch.float64, device=h.device)
    return values.T.float(), torch.linalg.solve(h @ h.T + identity, h).float()
