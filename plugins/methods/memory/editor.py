"""What methods share whose gate is trained on facts in several languages: its options, and which edits they can answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import PositiveInt

from xkeb.editing.editor import Editor, known
from xkeb.editing.training import Schedule, hold_out
from xkeb.errors import RequestError
from xkeb.models.spec import ModelSpec
from xkeb.types import Case, Edit, Sight
from xkeb_plugins.methods.memory.facts import really_unrelated


@dataclass
class GatedMemory(Editor):
    """A memory of edits, and a gate on the model's own states that is trained on parallel facts."""

    name: ClassVar[str]
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.PARALLEL_TRAINING})

    layer: int | None = None
    """Layer whose output the gate reads. None: as deep as layer 8 of 18."""
    width: int = 256
    """Of the vectors that the gate compares."""
    facts: int = 2000
    """Training facts that the gate learns from, the first so many. All of the training facts can be shown."""
    steps: PositiveInt = 300
    """Most optimizer steps of the gate."""
    lr: float = 2e-3
    """Of Adam."""
    batch_size: int = 256
    """Training facts of one step, each other's outside."""
    validate_every: int = 50
    """Steps from one validation to the next."""
    validation: int = 500
    """Training facts held out, at most a tenth: they say when to stop and, where cut-offs are learnt, where these are."""
    seed: int = 0
    """Of the gate's training, and of a random choice of facts."""

    def __post_init__(self) -> None:
        for name in ("width", "facts", "steps", "batch_size", "validate_every", "validation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def configure(self, spec: ModelSpec) -> Self:
        me = self.filled({"layer": spec.scale_layer(8, of=18)})
        if not 0 <= known(me.layer) < spec.n_layers:
            raise RequestError(f"{self.name}.layer is {me.layer}; {spec.name!r} has layers 0 to {spec.n_layers - 1}.")
        return me

    def needs_training(self) -> bool:
        """Whether it needs training facts: always. They say in which languages it can be asked."""
        return True

    def map_training(self, facts: Sequence[Case]) -> dict[str, Any]:
        """The fields of a `MapTraining` on some facts; of a configured editor."""
        learnt, held_out = hold_out(really_unrelated(facts), self.validation)
        schedule = Schedule(
            steps=self.steps,
            batch_size=self.batch_size,
            validate_every=self.validate_every,
            patience=self.steps,
            grad_clip=100.0,
            seed=self.seed,
        )
        return {
            "facts": learnt[: self.facts],
            "held_out": held_out,
            "layer": known(self.layer),
            "width": self.width,
            "lr": self.lr,
            "schedule": schedule,
        }

    def check_languages(self, edits: Sequence[Edit], languages: Collection[str]) -> None:
        """
        Raises:
            RequestError: an edit is in none of these languages.
        """
        for edit in edits:
            if edit.language not in languages:
                raise RequestError(
                    f"{self.name} has training facts in {', '.join(languages)}, none in {edit.language!r}."
                )
