"""A sound method, and one for each thing that a method can do wrong while it edits."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from xkeb.editing.changes import DenseChange
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit, Sight

MEMO: dict[tuple[str, int], dict[str, torch.Tensor]] = {}


@dataclass
class Good:
    """One step down the gradient of one matrix."""

    layer: int = 2
    lr: float = 0.05

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        return [self.change(backbone, edit) for edit in edits]

    def change(self, backbone: Backbone, edit: Edit) -> Any:
        return DenseChange(self.delta(backbone, edit))

    def delta(self, backbone: Backbone, edit: Edit) -> dict[str, torch.Tensor]:
        path = backbone.layout.down(self.layer)
        text = backbone.encode(edit.prompt, edit.target, edit.language)
        ids = torch.tensor([text.ids])
        delta = torch.zeros(backbone.layout.hidden_size, backbone.layout.intermediate_size, requires_grad=True)
        handle = backbone.module(path).register_forward_hook(lambda _, given, out: out + given[0] @ delta.T)
        try:
            logits = backbone.logits(backbone.hidden(ids)[0, text.prompt_end - 1 : -1])
        finally:
            handle.remove()
        loss = torch.nn.functional.cross_entropy(logits, ids[0, text.prompt_end :])
        return {f"{path}.weight": -self.lr * torch.autograd.grad(loss, delta)[0]}


class TooFew(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        return super().edit(backbone, edits)[1:]


class NoChange(Good):
    def change(self, backbone: Backbone, edit: Edit) -> Any:
        return self.delta(backbone, edit)


class Fails(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        raise ZeroDivisionError("nobody tried this")


class WritesWeights(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        made = super().edit(backbone, edits)
        with torch.no_grad():
            backbone.parameter("model.norm.weight").add_(1e-6)
        return made


class LeavesHook(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        backbone.module("model.norm").register_forward_hook(lambda *_: None)
        return super().edit(backbone, edits)


class TurnsGradientsOn(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        backbone.parameter("model.norm.weight").requires_grad_(True)
        return super().edit(backbone, edits)


class LearnsIntoTheModel(Good):
    sees = frozenset({Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING})

    def needs_training(self) -> bool:
        return True

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        backbone.model.train()


class SetsDtype(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        made = super().edit(backbone, edits)
        torch.set_default_dtype(torch.float64)
        return made


class Seeds(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        torch.manual_seed(0)
        return super().edit(backbone, edits)


class DrawsFromNumpy(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        np.random.random()
        return super().edit(backbone, edits)


class DrawsFromPython(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        random.random()
        return super().edit(backbone, edits)


class ForgetsFinally(Good):
    def delta(self, backbone: Backbone, edit: Edit) -> dict[str, torch.Tensor]:
        handle = backbone.module("model.norm").register_forward_hook(lambda *_: None)
        made = super().delta(backbone, edit)
        handle.remove()
        return made


class Swallows(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        try:
            return super().edit(backbone, edits)
        except ZeroDivisionError:
            return []


class Accumulates(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        made = super().edit(backbone, edits)
        total = sum((next(iter(change.updates.values())) for change in made), torch.zeros(()))
        return [DenseChange(dict.fromkeys(change.updates, total)) for change in made]


class Unseeded(Good):
    def delta(self, backbone: Backbone, edit: Edit) -> dict[str, torch.Tensor]:
        noise = int.from_bytes(os.urandom(4), "big")
        return {name: delta * (1 + noise / 2**33) for name, delta in super().delta(backbone, edit).items()}


class RemembersOtherModels(Good):
    """A memo of the module's: a fault that nothing shows as long as there is one model."""

    def delta(self, backbone: Backbone, edit: Edit) -> dict[str, torch.Tensor]:
        key = (edit.prompt, self.layer)
        if key not in MEMO:
            MEMO[key] = super().delta(backbone, edit)
        return MEMO[key]


@dataclass
class NamesAnOptionAsASecret(Good):
    key: str = "mean"


@dataclass
class KeepsAnObject(Good):
    kind: Any = field(default_factory=lambda: torch.float32)


@dataclass
class ChangesItsOptions(Good):
    def __post_init__(self) -> None:
        self.lr /= 2


class TakesAnyLayer(Good):
    def delta(self, backbone: Backbone, edit: Edit) -> dict[str, torch.Tensor]:
        self.layer = min(self.layer, backbone.n_layers - 1)
        return super().delta(backbone, edit)


class StumblesOverSubjects(Good):
    def delta(self, backbone: Backbone, edit: Edit) -> dict[str, torch.Tensor]:
        edit.prompt.index(edit.subject)
        return super().delta(backbone, edit)


class RefusesWithoutReason(Good):
    def unsupported(self, backbone: Backbone, edit: Edit) -> str | None:
        return None if edit.subject in edit.prompt else ""


class RefusesAtLength(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        if not all(edit.subject for edit in edits):
            raise RequestError("No subject.\nA subject is needed.")
        return super().edit(backbone, edits)


LEFT = "`edit` should leave the model as it was, to the bit; it left"
METHODS = {
    TooFew: "`edit` should give one change for each of 3 edits; it gave 2.",
    NoChange: "A change should have `applied(backbone)`; dict has none.",
    Fails: "it edits: it should run, and raised ZeroDivisionError: nobody tried this.",
    WritesWeights: f"{LEFT} the values of model.norm.weight.",
    LeavesHook: f"{LEFT} the hooks of model.norm.",
    TurnsGradientsOn: f"{LEFT} requires_grad of model.norm.weight.",
    LearnsIntoTheModel: "`fit` should leave the model as it was, to the bit; it left the training mode of the model,",
    SetsDtype: "An edit should leave the process as it was; it left another value for torch's default dtype.",
    Seeds: "An edit should draw from a `torch.Generator` of its own; it moved on torch's random state.",
    DrawsFromNumpy: "An edit should draw from a `torch.Generator` of its own; it moved on numpy's random state.",
    DrawsFromPython: "An edit should draw from a `torch.Generator` of its own; it moved on Python's random state.",
    ForgetsFinally: "An `edit` that ends in an exception should leave the model as it was, to the bit; it left the hooks of",
    Swallows: "An exception from inside the model should come out of `edit`; it was swallowed.",
    Accumulates: "Each edit should be made to the untouched model, so that among others it is what it is alone;",
    Unseeded: "The same options, seed among them, should give the same changes to the bit; a second edit gave others.",
    RemembersOtherModels: (
        "A model of other weights should get a change of its own; it got that of the first model, to the bit."
    ),
    NamesAnOptionAsASecret: "A result hides what is named as a secret, so that two values of it would share one journal:",
    KeepsAnObject: "Options should be numbers, texts and lists that a result can hold;",
    ChangesItsOptions: "A method made from its own recorded options should record the same;",
    TakesAnyLayer: "A layer that the model does not have should be refused by a RequestError; it was taken.",
    StumblesOverSubjects: (
        "An edit whose subject is not in its prompt should be refused by a RequestError that says what was expected, or "
        "edited all the same; it raised ValueError: substring not found."
    ),
    RefusesWithoutReason: "should be refused with a reason; `unsupported` gave an empty one.",
    RefusesAtLength: (
        r"An edit without a subject should be refused in one sentence; it was 'No subject.\nA subject is needed.'."
    ),
}
"""What a method does wrong, and what is said of it."""
