"""MEND's editor: one backward pass and the learnt networks give the update."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch

from xkeb.backbone import Backbone
from xkeb.changes import LowRankChange
from xkeb.errors import RequestError
from xkeb.layout import widths
from xkeb.memory import check_memory
from xkeb.training import Schedule, hold_out, rehearse, train
from xkeb.types import Case, Edit, Property
from xkeb.utils.hashing import digest
from xkeb_plugins.methods.mend.gradient import gradient_factors
from xkeb_plugins.methods.mend.network import Hypernetworks, Shape
from xkeb_plugins.methods.mend.trainee import MendTrainee

if TYPE_CHECKING:
    from xkeb.stage import Stage

EMBEDDED: dict[str, Any] = {
    "rank": 256,
    "lr": 1e-4,
    "edit_lr": 3e-5,
    "lr_lr": 1e-5,
    "steps": 100,
    "validate_every": 20,
    "patience": 60,
    "validation": 50,
}
"""Sized for a CPU: a quarter of an hour of training. Measured: docs/results.md."""
TUNED: dict[str, dict[str, Any]] = {"gemma3-270m": EMBEDDED, "smollm2-135m": EMBEDDED}
USUAL: dict[str, Any] = {
    "rank": 1920,
    "lr": 1e-6,
    "edit_lr": 1e-4,
    "lr_lr": 1e-4,
    "steps": 10_000,
    "validate_every": 100,
    "patience": 3000,
    "validation": 500,
}
"""EasyEdit's settings for LLaMA, which the paper used. It counts single facts, ten of them to an optimiser step."""
BYTES_IN_TRAINING = 20
"""Of a float32 parameter: itself, its gradient, Adam's two moments, and its best value so far."""


@dataclass
class Mend:
    """MEND: networks, trained beforehand, that turn the gradient of one fact into an update of the last layers' MLPs."""

    in_paper: ClassVar[bool] = True
    needs: ClassVar[tuple[Property, ...]] = ("generality", "locality")

    layers: tuple[int, ...] | None = None
    """Edited layers, every projection of their MLPs. None: the last three."""
    rank: int | None = None
    """Of the networks' matrices. None: the tuned one, or 1920; at most the width of what goes in."""
    n_hidden: int = 1
    norm: bool = True
    """Normalise gradients by statistics kept from training."""
    combine: bool = True
    """One network sees a token's input and gradient together, instead of one for each."""
    shared: bool = True
    """Matrices of one shape share a network, with scales and shifts of their own."""
    lr: float | None = None
    """Of Adam over the networks. None: the tuned one, or 1e-6."""
    edit_lr: float | None = None
    """Step size of an update, at the beginning of training. None: the tuned one, or 1e-4."""
    lr_lr: float | None = None
    """Of Adam over the step sizes. None: the tuned one, or 1e-4."""
    cedit: float = 0.1
    """Weight of the edit's loss (Eq. 4a)."""
    cloc: float = 1.0
    """Weight of the divergence at an unrelated question (Eq. 4b)."""
    outer: Literal["rephrase", "edit"] = "rephrase"
    """On what an edit is scored in training: ``rephrase``, as in the paper (x'_e of its Algorithm 1), or ``edit``, the
    edit's own question, as in EasyEdit."""
    batch_size: int = 10
    """Training facts of one optimiser step, each edited alone."""
    steps: int | None = None
    """Most optimiser steps. None: the tuned number, or 10,000."""
    validate_every: int | None = None
    """Steps from one validation to the next. None: the tuned number, or 100."""
    patience: int | None = None
    """Steps without a lower validation loss after which training stops. None: the tuned number, or 3000."""
    grad_clip: float = 100.0
    validation: int | None = None
    """Training facts held out to decide when to stop, at most a tenth. None: the tuned number, or 500."""
    seed: int = 0

    _networks: Hypernetworks | None = field(default=None, init=False, repr=False, compare=False)

    def settle(self, backbone: Backbone) -> Self:
        """Options that depend on the backbone, filled in."""
        last = backbone.n_layers
        usual = USUAL | {"layers": tuple(range(max(0, last - 3), last))} | TUNED.get(backbone.name, {})
        unset = {name: value for name, value in usual.items() if getattr(self, name) is None}
        editor = dataclasses.replace(self, **unset)
        editor._networks = self._networks
        if not editor.layers or not all(0 <= layer < last for layer in editor.layers):
            raise RequestError(f"mend.layers is {editor.layers}; {backbone.name!r} has layers 0 to {last - 1}.")
        return editor

    def learns(self) -> bool:
        """Whether it needs training facts: always."""
        return True

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Trains the networks, or takes them from the cache."""
        me = self.settle(backbone)
        assert me.validation is not None
        facts, held = hold_out(cases, me.validation)
        networks = me.untrained(backbone)
        check_memory(
            f"Training MEND's networks of rank {me.rank}",
            BYTES_IN_TRAINING * networks.n_parameters,
            backbone.device,
            f"mend.rank={(me.rank or 2) // 2} takes about half.",
        )
        trainee = MendTrainee(backbone, networks, me)
        networks.load_state_dict(train("mend", me.key(backbone, cases), trainee, facts, held, me._schedule()))
        networks.zero_grad()  # the last step's, as large as the networks
        self._networks = networks.to(backbone.device).eval()

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One low-rank change of the last layers' MLPs for each edit, its rank the number of its tokens."""
        if self._networks is None:
            raise RequestError("MEND edits with networks that it trains: call fit() first.")
        me = self.settle(backbone)
        with torch.no_grad():
            return me.changes(backbone, self._networks, edits)

    def rehearse(self, stage: Stage, edits: Sequence[Edit]) -> list[LowRankChange]:
        """Training and an edit without weights, for what they need."""
        me = self.settle(stage.backbone)
        assert me.validation is not None
        with stage.phase("fit"):
            facts, held = hold_out(stage.training, me.validation)
            networks = me.untrained(stage.backbone)
            rehearse(stage, MendTrainee(stage.backbone, networks, me), facts, held, me._schedule())
            networks.zero_grad()
        me._networks = networks
        stage.staying.append(me)
        return me.edit(stage.backbone, edits)

    def changes(
        self, backbone: Backbone, networks: Hypernetworks, edits: Sequence[Edit], *, observe: bool = False
    ) -> list[LowRankChange]:
        """The networks' updates, differentiable with respect to them.

        Args:
            observe: take the gradients into the running statistics first.
        """
        assert self.layers is not None
        paths = self.paths(backbone)
        texts = [backbone.encode(edit.prompt, edit.target, edit.language) for edit in edits]
        factors = gradient_factors(backbone, min(self.layers), paths, texts)
        counts = [len(own[0][0]) for own in factors]
        pairs: list[dict[str, tuple[torch.Tensor, torch.Tensor]]] = [{} for _ in edits]
        for i, path in enumerate(paths):
            counts = [len(own[i][0]) for own in factors]
            u, v = (torch.cat([own[i][side] for own in factors]) for side in (0, 1))
            if observe:
                networks.observe(i, u, v)
            new_v, new_u = networks(i, u, v)
            for pair, left, right in zip(pairs, new_v.split(counts), new_u.split(counts), strict=True):
                pair[path] = (left.T, right)
        return [LowRankChange(pair) for pair in pairs]

    def untrained(self, backbone: Backbone) -> Hypernetworks:
        """The networks as training begins, on the backbone's device."""
        assert self.rank is not None and self.edit_lr is not None
        shape = Shape(self.rank, self.n_hidden, self.norm, self.combine)
        sizes = [widths(backbone.module(path)) for path in self.paths(backbone)]
        networks = Hypernetworks(sizes, shape, shared=self.shared, edit_lr=self.edit_lr, seed=self.seed)
        return networks.to(backbone.device)

    def paths(self, backbone: Backbone) -> list[str]:
        """The edited matrices."""
        assert self.layers is not None
        layout = backbone.layout
        return [path for layer in self.layers for path in (*layout.ups(layer), layout.down(layer))]

    def _schedule(self) -> Schedule:
        assert self.steps and self.validate_every and self.patience
        return Schedule(self.steps, self.batch_size, self.validate_every, self.patience, self.grad_clip, self.seed)

    def key(self, backbone: Backbone, cases: Sequence[Case]) -> Mapping[str, Any]:
        """Everything that the trained networks depend on, the schedule aside."""
        return {
            "method": "mend",
            "version": 1,
            "backbone": backbone.sha256,
            "dtype": str(backbone.dtype),
            "facts": digest([dataclasses.asdict(case) for case in cases]),
            "options": {option.name: getattr(self, option.name) for option in dataclasses.fields(self) if option.init},
        }
