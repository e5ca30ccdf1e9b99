"""MEND's editor: one backward pass and the learnt networks give the update."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import PositiveInt

from xkeb.editing.changes import LowRankChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor, known
from xkeb.editing.training import Schedule, dry_run_training, hold_out, train
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.layout import widths
from xkeb.models.memory import check_memory
from xkeb.models.spec import ModelSpec
from xkeb.types import Case, Edit, Property, Sight
from xkeb.utils.hashing import digest
from xkeb_plugins.methods.mend.network import Hypernetworks, Shape
from xkeb_plugins.methods.mend.trainee import Losses, MendTrainee, Rates
from xkeb_plugins.methods.mend.updates import edited_paths, make_updates
from xkeb_plugins.methods.tuned import tuned_settings

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
"""EasyEdit's settings for LLaMA, which the paper used. It counts single facts, ten of them to an optimizer step."""
BYTES_IN_TRAINING = 20
"""Of a float32 parameter: itself, its gradient, Adam's two moments, and its best value so far."""


@dataclass
class Mend(Editor):
    """MEND: networks, trained beforehand, that turn the gradient of one fact into an update of the last layers' MLPs."""

    in_paper: ClassVar[bool] = True
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING})
    requires: ClassVar[frozenset[Property]] = frozenset({"generality", "locality"})
    across: ClassVar[bool] = False
    """Whether the networks are trained in the other languages of a fact, too."""

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
    """Training facts of one optimizer step, each edited alone."""
    steps: PositiveInt | None = None
    """Most optimizer steps. None: the tuned number, or 10,000."""
    validate_every: int | None = None
    """Steps from one validation to the next. None: the tuned number, or 100."""
    patience: int | None = None
    """Steps without a lower validation loss after which training stops. None: the tuned number, or 3000."""
    grad_clip: float = 100.0
    validation: int | None = None
    """Training facts held out to decide when to stop, at most a tenth. None: the tuned number, or 500."""
    seed: int = 0

    _networks: Hypernetworks | None = field(default=None, init=False, repr=False, compare=False)

    def configure(self, spec: ModelSpec) -> Self:
        last = spec.n_layers
        usual = USUAL | {"layers": tuple(range(max(0, last - 3), last))}
        me = self.filled(usual | tuned_settings("mend", spec))
        if not me.layers or not all(0 <= layer < last for layer in me.layers):
            raise RequestError(f"mend.layers is {me.layers}; {spec.name!r} has layers 0 to {last - 1}.")
        return me

    def needs_training(self) -> bool:
        """Whether it needs training facts: always."""
        return True

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Trains the networks, or takes them from the cache."""
        me = self.configure(backbone.spec)
        facts, validation = hold_out(me.lessons(cases), known(me.validation))
        networks = me.untrained(backbone)
        check_memory(
            f"Training MEND's networks of rank {me.rank}",
            BYTES_IN_TRAINING * networks.n_parameters,
            backbone.device,
            f"mend.rank={(me.rank or 2) // 2} takes about half.",
        )
        trainee = me._trainee(backbone, networks)
        networks.load_state_dict(train("mend", me.key(backbone, cases), trainee, facts, validation, me._schedule()))
        networks.zero_grad()  # the last step's, as large as the networks
        self._networks = networks.to(backbone.device).eval()

    def lessons(self, cases: Sequence[Case]) -> Sequence[Case]:
        """The training facts that the networks learn from."""
        return cases

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One low-rank change of the last layers' MLPs for each edit, its rank the number of its tokens."""
        if self._networks is None:
            raise RequestError("MEND edits with networks that it trains: call fit() first.")
        me = self.configure(backbone.spec)
        with torch.no_grad():
            return make_updates(backbone, self._networks, known(me.layers), edits)

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        me = self.configure(session.backbone.spec)
        with session.phase("fit"):
            facts, validation = hold_out(me.lessons(session.training), known(me.validation))
            networks = me.untrained(session.backbone)
            dry_run_training(session, me._trainee(session.backbone, networks), facts, validation, me._schedule())
            networks.zero_grad()
        me._networks = networks
        session.retained.append(me)
        return me.edit(session.backbone, edits)

    def untrained(self, backbone: Backbone) -> Hypernetworks:
        """The networks as training begins, on the backbone's device."""
        shape = Shape(known(self.rank), self.n_hidden, self.norm, self.combine)
        sizes = [widths(backbone.module(path)) for path in edited_paths(backbone, known(self.layers))]
        networks = Hypernetworks(sizes, shape, shared=self.shared, edit_lr=known(self.edit_lr), seed=self.seed)
        return networks.to(backbone.device)

    def _schedule(self) -> Schedule:
        return Schedule(
            known(self.steps),
            self.batch_size,
            known(self.validate_every),
            known(self.patience),
            self.grad_clip,
            self.seed,
        )

    def _trainee(self, backbone: Backbone, networks: Hypernetworks) -> MendTrainee:
        losses = Losses(self.cedit, self.cloc, self.outer, self.across)
        rates = Rates(known(self.lr), known(self.lr_lr))
        return MendTrainee(backbone, networks, known(self.layers), losses, rates, self.batch_size)

    def key(self, backbone: Backbone, cases: Sequence[Case]) -> Mapping[str, Any]:
        """Everything that the trained networks depend on, the schedule aside."""
        return {
            "method": "xmend" if self.across else "mend",
            "version": 2,  # since 2, a separator that is a token of its own is learnt
            "backbone": backbone.sha256,
            "prompt": backbone.prompt_key,
            "dtype": str(backbone.dtype),
            "facts": digest([dataclasses.asdict(case) for case in cases]),
            "options": {option.name: getattr(self, option.name) for option in dataclasses.fields(self) if option.init},
        }
