"""`xkeb.testing.check_method`: each thing that a method can do wrong is caught by its own sentence."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import xkeb
from xkeb.backbone import Backbone
from xkeb.changes import DenseChange, Rows, WeightChange
from xkeb.errors import RequestError
from xkeb.plugins import Entry, plugins
from xkeb.saving import save_change
from xkeb.testing import check_method
from xkeb.testing.state import model_state
from xkeb.types import Case, Edit


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
            logits = backbone.logits(backbone.hidden(ids)[0, text.target - 1 : -1])
        finally:
            handle.remove()
        loss = torch.nn.functional.cross_entropy(logits, ids[0, text.target :])
        return {f"{path}.weight": -self.lr * torch.autograd.grad(loss, delta)[0]}


class TooFew(Good):
    def edit(self, backbone, edits):
        return super().edit(backbone, edits)[1:]


class NoChange(Good):
    def change(self, backbone, edit):
        return self.delta(backbone, edit)


class Fails(Good):
    def edit(self, backbone, edits):
        raise ZeroDivisionError("nobody tried this")


class WritesWeights(Good):
    def edit(self, backbone, edits):
        made = super().edit(backbone, edits)
        with torch.no_grad():
            backbone.parameter("model.norm.weight").add_(1e-6)
        return made


class LeavesHook(Good):
    def edit(self, backbone, edits):
        backbone.module("model.norm").register_forward_hook(lambda *_: None)
        return super().edit(backbone, edits)


class TurnsGradientsOn(Good):
    def edit(self, backbone, edits):
        backbone.parameter("model.norm.weight").requires_grad_(True)
        return super().edit(backbone, edits)


class LearnsIntoTheModel(Good):
    def learns(self):
        return True

    def fit(self, backbone, cases):
        backbone.model.train()


class SetsDtype(Good):
    def edit(self, backbone, edits):
        made = super().edit(backbone, edits)
        torch.set_default_dtype(torch.float64)
        return made


class Seeds(Good):
    def edit(self, backbone, edits):
        torch.manual_seed(0)
        return super().edit(backbone, edits)


class DrawsFromNumpy(Good):
    def edit(self, backbone, edits):
        np.random.random()
        return super().edit(backbone, edits)


class DrawsFromPython(Good):
    def edit(self, backbone, edits):
        random.random()
        return super().edit(backbone, edits)


class ForgetsFinally(Good):
    def delta(self, backbone, edit):
        handle = backbone.module("model.norm").register_forward_hook(lambda *_: None)
        made = super().delta(backbone, edit)
        handle.remove()
        return made


class Swallows(Good):
    def edit(self, backbone, edits):
        try:
            return super().edit(backbone, edits)
        except ZeroDivisionError:
            return []


class Accumulates(Good):
    def edit(self, backbone, edits):
        made = super().edit(backbone, edits)
        total = sum((next(iter(change.updates.values())) for change in made), torch.zeros(()))
        return [DenseChange(dict.fromkeys(change.updates, total)) for change in made]


class Unseeded(Good):
    def delta(self, backbone, edit):
        noise = int.from_bytes(os.urandom(4), "big")
        return {name: delta * (1 + noise / 2**33) for name, delta in super().delta(backbone, edit).items()}


@dataclass
class KeepsAnObject(Good):
    kind: Any = field(default_factory=lambda: torch.float32)


@dataclass
class ChangesItsOptions(Good):
    def __post_init__(self):
        self.lr /= 2


class TakesAnyLayer(Good):
    def delta(self, backbone, edit):
        self.layer = min(self.layer, backbone.n_layers - 1)
        return super().delta(backbone, edit)


class StumblesOverSubjects(Good):
    def delta(self, backbone, edit):
        edit.prompt.index(edit.subject)
        return super().delta(backbone, edit)


class RefusesWithoutReason(Good):
    def refuses(self, backbone, edit):
        return None if edit.subject in edit.prompt else ""


class RefusesAtLength(Good):
    def edit(self, backbone, edits):
        if not all(edit.subject for edit in edits):
            raise RequestError("No subject.\nA subject is needed.")
        return super().edit(backbone, edits)


class UpTheGradient(Good):
    def delta(self, backbone, edit):
        return {name: -delta for name, delta in super().delta(backbone, edit).items()}


class Infinite(Good):
    def delta(self, backbone, edit):
        return {name: delta / 0 for name, delta in super().delta(backbone, edit).items()}


class Nothing(Good):
    def delta(self, backbone, edit):
        return {name: delta * 0 for name, delta in super().delta(backbone, edit).items()}


class WithGraph(Good):
    def delta(self, backbone, edit):
        return {name: delta.requires_grad_(True) for name, delta in super().delta(backbone, edit).items()}


class ForItself(WeightChange):
    """A change with a weakness of its own."""

    def __init__(self, updates):
        self.updates = updates

    def deltas(self):
        return self.updates


class StaysOn(ForItself):
    @contextmanager
    def applied(self, backbone) -> Iterator[None]:
        for name, delta in self.updates.items():
            with torch.no_grad():
                backbone.parameter(name).add_(delta)
            yield
            with torch.no_grad():
                backbone.parameter(name).sub_(delta)  # rounds


class StaysOnAfterErrors(ForItself):
    @contextmanager
    def applied(self, backbone) -> Iterator[None]:
        before = {name: backbone.parameter(name).clone() for name in self.updates}
        with torch.no_grad():
            for name, delta in self.updates.items():
                backbone.parameter(name).add_(delta)
            yield
            for name, original in before.items():
                backbone.parameter(name).copy_(original)


class SwallowsErrors(ForItself):
    @contextmanager
    def applied(self, backbone) -> Iterator[None]:
        with super().applied(backbone):
            try:
                yield
            except Exception:
                return


class FirstOfAll(ForItself):
    """Every row sees the first change."""

    @classmethod
    def together(cls, backbone, changes) -> Rows | None:
        return DenseChange.together(backbone, [DenseChange(changes[0].updates)] * len(changes))


class SavedInHalf(ForItself):
    def save(self, folder: Path) -> None:
        save_change(folder, "DenseChange", {name: delta.half().float() for name, delta in self.updates.items()}, {})


def of(kind: type[ForItself], **options: Any) -> Any:
    class Method(Good):
        def change(self, backbone, edit):
            return kind(self.delta(backbone, edit))

    Method.__name__ = kind.__name__
    return dataclass(type(kind.__name__, (Method,), {"lr": 5.0, "__annotations__": {"lr": float}} if options else {}))


LEFT = "`edit` should leave the model as it was, to the bit; it left"
TAKEN_BACK = "`applied` should leave the model as it was, to the bit,"
CAUGHT = {
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
    KeepsAnObject: "Options should be numbers, texts and lists that a result can hold;",
    ChangesItsOptions: "A method made from its own recorded options should record the same;",
    TakesAnyLayer: "A layer that the model does not have should be refused by a RequestError; it was taken.",
    StumblesOverSubjects: (
        "An edit whose subject is not in its prompt should be refused by a RequestError that says what was expected, or "
        "edited all the same; it raised ValueError: substring not found."
    ),
    RefusesWithoutReason: "should be refused with a reason; `refuses` gave an empty one.",
    RefusesAtLength: (
        r"An edit without a subject should be refused in one sentence; it was 'No subject.\nA subject is needed.'."
    ),
    UpTheGradient: "An edit should make its target more likely; its log-probability changed by -",
    Infinite: "A change should hold numbers; that of model.layers.2.mlp.down_proj.weight holds NaN or infinity.",
    Nothing: "A change should change something; that of model.layers.2.mlp.down_proj.weight is zero everywhere.",
    WithGraph: "A change should be data; that of model.layers.2.mlp.down_proj.weight still carries its gradient's graph.",
    of(StaysOn): f"{TAKEN_BACK} on exit; it left the values of model.layers.2.mlp.down_proj.weight.",
    of(StaysOnAfterErrors): f"{TAKEN_BACK} after an exception, too; it left the values of",
    of(SwallowsErrors): "An exception inside `applied` should come out of it; it was swallowed.",
    of(FirstOfAll, strong=True): "Changes applied row by row should answer as one at a time;",
    of(SavedInHalf): "A SavedInHalf that is saved and loaded should be the same; it became another.",
}
"""What a method does wrong, and what is said of it."""


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Registers a method as ``mine``; afterwards, the process is as it was, whatever the method did to it."""
    python_state, numpy_state, dtype = random.getstate(), np.random.get_state(), torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        yield lambda thing: monkeypatch.setitem(plugins().methods.entries, "mine", Entry(thing, "test"))
    random.setstate(python_state)
    np.random.set_state(numpy_state)
    torch.set_default_dtype(dtype)


def test_a_sound_method_passes_and_leaves_the_backbone_as_it_was(register: Any, small_backbone: Backbone) -> None:
    register(Good)
    before, cache = model_state(small_backbone), os.environ["XKEB_CACHE"]
    check_method("mine", small_backbone, lr=0.02)
    assert model_state(small_backbone) == before
    assert os.environ["XKEB_CACHE"] == cache


@pytest.mark.parametrize("method", CAUGHT, ids=lambda method: method.__name__)
def test_what_a_method_does_wrong_is_caught(method: Any, register: Any, small_backbone: Backbone) -> None:
    register(method)
    with pytest.raises(AssertionError) as caught:
        check_method("mine", small_backbone)
    head, *lines = str(caught.value).splitlines()
    assert head.startswith("Method 'mine' fails ")
    assert [line for line in lines if CAUGHT[method] in line], lines
    assert all(line.startswith("- ") and line.endswith(".") for line in lines)


def test_a_context_is_no_matter_of_likelihood(register: Any, small_backbone: Backbone) -> None:
    """A model of random weights understands none."""

    class Tells:
        def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[xkeb.ContextChange]:
            return [xkeb.ContextChange(f"{edit.prompt} {edit.target}\n") for edit in edits]

    register(Tells)
    check_method("mine", small_backbone)


def test_an_unknown_option_is_named(register: Any, small_backbone: Backbone) -> None:
    register(Good)
    with pytest.raises(AssertionError, match="Unknown option of method 'mine': 'layr': did you mean 'layer'"):
        check_method("mine", small_backbone, layr=1)


def test_facts_are_at_hand_for_a_method_that_learns(register: Any, small_backbone: Backbone) -> None:
    learnt: list[int] = []

    class Learns(Good):
        def learns(self) -> bool:
            return True

        def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
            learnt.append(len(cases))

    register(Learns)
    check_method("mine", small_backbone)
    assert set(learnt) == {30}
