"""Sessions: each edit on the model as edited so far, all in one change, saved and loaded."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import xkeb
from xkeb.editing.changes import ContextChange, DenseChange, LowRankChange
from xkeb.editing.composition import compose
from xkeb.editing.editor import Editor, prepare, why_no_sequence
from xkeb.editing.session import FailedEditError, Session
from xkeb.errors import RequestError
from xkeb.evaluation.state import model_state
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.grace.change import CodebookChange
from xkeb_plugins.methods.memoir.change import ResidualMemoryChange
from xkeb_plugins.methods.wise.change import SideMemoryChange
from xkeb_plugins.methods.wise.memory import memory_tensors

SPREAD = {"layers": (1, 2), "steps": 3, "context_templates": ("In short. ",)}
METHODS: dict[str, dict[str, Any]] = {
    "ft": {"lr": 0.05, "steps": 3},
    "rome": {"steps": 3, "context_templates": ("In short. ",)},
    "kn": {},
    "memit": {**SPREAD, "mom2_update_weight": 0.1},
    "alphaedit": {**SPREAD, "nullspace_threshold": 1.0},
    "langedit": {**SPREAD, "nullspace_threshold": 1.0},
    "grace": {"steps": 3},
    "ultraedit": {"warmup": 10, "lr": 1e-2},
    "memoir": {"steps": 3, "context_templates": ("In short. ",)},
    "wise": {"steps": 3, "context_templates": ("In short. ",), "edits_per_shard": 1},
}


def bits(session: Session) -> dict[str, bytes]:
    assert session.change is not None
    with session.change.applied(session.backbone):
        found = {name: tensor.numpy().tobytes() for name, tensor in session.backbone.model.named_parameters()}
    if isinstance(session.change, CodebookChange):
        book = session.change.codebook
        found |= {name: getattr(book, name).numpy().tobytes() for name in ("keys", "values", "radii")}
    if isinstance(session.change, ResidualMemoryChange):
        found |= {name: tensor.numpy().tobytes() for name, tensor in session.change.memory.tensors().items()}
    if isinstance(session.change, SideMemoryChange):
        found |= {name: tensor.numpy().tobytes() for name, tensor in memory_tensors(session.change.memories).items()}
    return found


def deltas_of(change: Any) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = change.deltas()
    return found


def edits(n: int) -> list[Edit]:
    return [case.edit for case in list(xkeb.load_task("bizsre_mini_en2zh"))[:n]]


@pytest.mark.parametrize("method", METHODS)
def test_a_session_that_is_saved_and_loaded_goes_on_equally(
    llama: Backbone, training: list[Case], tmp_path: Path, method: str
) -> None:
    editor = prepare(xkeb.load_editor(method, **METHODS[method]), llama, training)
    before = model_state(llama)
    session = editor.begin(llama)
    states = []
    for edit in edits(4):
        session.edit([edit])
        states.append(bits(session))
        if len(states) == 2:
            session.save(tmp_path)
    assert len({tuple(state.values()) for state in states}) == 4
    other = prepare(xkeb.load_editor(method, **METHODS[method]), llama, training).begin(llama)
    other.load(tmp_path)
    assert bits(other) == states[1]
    for edit, state in zip(edits(4)[2:], states[2:], strict=True):
        other.edit([edit])
        assert bits(other) == state
    assert model_state(llama) == before


@pytest.mark.parametrize("method", ["ft", "rome"])
def test_each_edit_sees_the_model_as_edited_so_far(llama: Backbone, training: list[Case], method: str) -> None:
    """Against plain code: a change is added to the weights before the next is made, and all are taken back."""
    editor = prepare(xkeb.load_editor(method, **METHODS[method]), llama, training)
    kept = {name: parameter.detach().clone() for name, parameter in llama.model.named_parameters()}
    alone = [editor.edit(llama, [edit])[0] for edit in edits(3)]
    try:
        for edit in edits(3):
            (change,) = editor.edit(llama, [edit])
            assert isinstance(change, DenseChange | LowRankChange)
            for name, delta in change.deltas().items():
                llama.parameter(name).data.add_(delta)
        expected = {name: parameter.detach().clone() for name, parameter in llama.model.named_parameters()}
    finally:
        for name, parameter in llama.model.named_parameters():
            parameter.data.copy_(kept[name])
    session = editor.begin(llama)
    for edit in edits(3):
        change = session.edit([edit])
    with change.applied(llama):
        for name, parameter in llama.model.named_parameters():
            assert torch.allclose(parameter, expected[name], atol=1e-5)
    moved = [name for name in kept if not torch.equal(kept[name], expected[name])]
    sums = {name: sum(one.deltas()[name] for one in alone) for name in moved}  # type: ignore[attr-defined]
    assert any(not torch.allclose(kept[name] + sums[name], expected[name], atol=1e-4) for name in moved)


def test_alphaedit_carries_the_keys_of_earlier_edits(llama: Backbone, training: list[Case]) -> None:
    editor = prepare(xkeb.load_editor("alphaedit", **METHODS["alphaedit"]), llama, training)
    session = editor.begin(llama)
    session.edit(edits(2))
    first, past = editor.edit_after(llama, edits(2), {})
    assert all(torch.equal(session.state[name], total) for name, total in past.items()) and past
    session.edit(edits(3)[2:])
    with first.applied(llama):
        second, _ = editor.edit_after(llama, edits(3)[2:], past)
    assert session.change is not None
    for name, delta in session.change.deltas().items():  # type: ignore[attr-defined]
        assert torch.allclose(delta, deltas_of(first)[name] + deltas_of(second)[name], atol=1e-5)


def test_low_rank_changes_stay_so_as_long_as_that_is_smaller() -> None:
    def change(rank: int, value: float) -> LowRankChange:
        return LowRankChange({"m": (torch.full((6, rank), value), torch.ones(rank, 6))})

    small = compose(change(1, 1.0), change(2, 2.0))
    assert isinstance(small, LowRankChange) and small.factors["m"][0].shape == (6, 3)
    assert torch.equal(small.deltas()["m.weight"], torch.full((6, 6), 5.0))
    large = compose(small, change(1, 1.0))  # 4 * 12 > 36
    assert isinstance(large, DenseChange)
    assert torch.equal(large.deltas()["m.weight"], torch.full((6, 6), 6.0))
    both = compose(DenseChange({"n.weight": torch.ones(2, 2)}), change(1, 1.0))
    assert isinstance(both, DenseChange) and set(both.updates) == {"n.weight", "m.weight"}


def test_what_cannot_be_composed_is_said_in_one_sentence() -> None:
    with pytest.raises(RequestError, match="Changes of the kind ContextChange can't be made on top of one another"):
        compose(ContextChange("a"), ContextChange("b"))


@dataclass
class Broken(Editor):
    """A method whose second change is no number."""

    name: str
    made: int = 0

    def edit(self, backbone: Backbone, edits: Any) -> list[DenseChange]:
        self.made += 1
        return [DenseChange({self.name: torch.full((32, 80), float("nan") if self.made == 2 else 1.0)})]


def test_an_edit_that_comes_to_nothing_leaves_the_session_as_it_was(llama: Backbone) -> None:
    session = Broken(f"{llama.layout.down(1)}.weight").begin(llama)
    first = session.edit(edits(1))
    with pytest.raises(FailedEditError, match="infinite or no numbers"):
        session.edit(edits(1))
    assert session.change is first
    (delta,) = session.edit(edits(1)).deltas().values()  # type: ignore[attr-defined]
    assert torch.equal(delta, torch.full((32, 80), 2.0))


def test_an_editor_that_edits_alone_has_a_session(llama: Backbone, tmp_path: Path) -> None:
    @dataclass
    class Opaque:
        inner: DenseChange

        @contextmanager
        def applied(self, backbone: Backbone) -> Any:
            with self.inner.applied(backbone):
                yield

    class Strange(Editor):
        def edit(self, backbone: Backbone, edits: Any) -> list[Opaque]:
            return [Opaque(DenseChange({f"{llama.layout.down(1)}.weight": torch.ones(32, 80)})) for _ in edits]

    session = Strange().begin(llama)
    session.edit(edits(1))
    with pytest.raises(RequestError, match="A change of the kind Opaque can't be saved"):
        session.save(tmp_path)
    with pytest.raises(RequestError, match="Changes of the kind Opaque can't be made on top of one another"):
        session.edit(edits(1))
    assert why_no_sequence(Strange(), 2) == "it makes one edit at a time" and why_no_sequence(Strange(), 1) is None
