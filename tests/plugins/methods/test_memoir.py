"""MEMOIR: its parts by hand, and its memories against a plain one written here: the whole model, one text at a time."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_texts import EDITS, error, ids_of, question

import xkeb
from xkeb.editing.changes import DenseChange, batched, load_change
from xkeb.editing.editor import options_of, prepare
from xkeb.errors import RequestError
from xkeb.evaluation.probing import predict_edited
from xkeb.evaluation.protocols import Protocol, TeacherForcingProtocol
from xkeb.evaluation.protocols.generate import GenerateProtocol
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit, Query
from xkeb_plugins.methods.memoir.change import ResidualMemoryChange
from xkeb_plugins.methods.memoir.editor import Memoir
from xkeb_plugins.methods.memoir.memory import ResidualMemory
from xkeb_plugins.methods.memoir.tophash import TopHash
from xkeb_plugins.methods.question_gate import NONE

LAYER, PREFIX, QUESTIONS = 2, "In short. ", 7
CPU = torch.device("cpu")
OPTIONS: dict[str, Any] = {
    "layer": LAYER,
    "steps": 10,
    "lr": 2.0,
    "clip": 0.5,
    "background": QUESTIONS,
    "context_templates": (PREFIX,),
}


def memoir(backbone: Backbone, training: Sequence[Case], **options: Any) -> Memoir:
    editor = prepare(xkeb.load_editor("memoir", **{**OPTIONS, **options}), backbone, training)
    assert isinstance(editor, Memoir)
    return editor


def entering(backbone: Backbone, ids: torch.Tensor) -> torch.Tensor:
    """What enters the matrix, [T, d_in], in a pass of the model as it is."""
    seen: list[torch.Tensor] = []
    module = backbone.module(backbone.layout.down(LAYER))
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    with torch.no_grad():
        backbone.model(ids)
    handle.remove()
    return seen[0]


def plain_background(backbone: Backbone, training: Sequence[Case]) -> torch.Tensor:
    """One unrelated question at a time."""
    questions = [probe.prompt for case in training for probe in case.probes if probe.property == "locality"]
    means = [
        entering(backbone, torch.tensor([backbone.tokenizer(question)["input_ids"]])).mean(0)
        for question in questions[:QUESTIONS]
    ]
    return torch.stack(means).mean(0)


def plain_mask(backbone: Backbone, edit: Edit, background: torch.Tensor, top_k: int) -> torch.Tensor:
    """[d_in] True at the permuted places of the `top_k` centred means of the question that are farthest from zero."""
    ids, answer = ids_of(backbone, edit)
    centred = (entering(backbone, ids[:, : answer[0]]).mean(0) - background).tolist()
    strongest = sorted(range(len(centred)), key=lambda i: -abs(centred[i]))[:top_k]
    permutation = torch.randperm(len(centred), generator=torch.Generator().manual_seed(0)).tolist()
    mask = torch.zeros(len(centred), dtype=torch.bool)
    for i in strongest:
        mask[permutation[i]] = True
    return mask


def plain(
    backbone: Backbone, edit: Edit, mask: torch.Tensor, editor: Memoir, start: torch.Tensor | None = None
) -> tuple[torch.Tensor, list[float]]:
    """W_m, [d_out, d_in], and the losses: torch's SGD on all of it, its gradient clipped by torch."""
    model: Any = copy.deepcopy(backbone.model)
    texts = [ids_of(backbone, edit, before) for before in ("", PREFIX)]
    memory = torch.zeros(backbone.layout.hidden_size, len(mask)) if start is None else start.clone()
    memory.requires_grad_(True)
    model.get_submodule(backbone.layout.down(LAYER)).register_forward_hook(
        lambda _, inputs, output: output + (inputs[0] * mask) @ memory.T
    )
    optimizer = torch.optim.SGD([memory], lr=editor.lr or 0.0)
    losses = []
    for _ in range(editor.steps):
        optimizer.zero_grad()
        answers = []
        for ids, answer in texts:
            chances = model(ids).logits[0].log_softmax(-1)
            answers.append(-torch.stack([chances[i - 1, ids[0, i]] for i in answer]).mean())
        loss = torch.stack(answers).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([memory], editor.clip)
        optimizer.step()
        losses.append(float(loss.detach()))
    return memory.detach(), losses


@pytest.mark.parametrize("steps", [1, 10])
def test_each_memory_is_that_of_a_plain_memoir(tiny: Backbone, training: list[Case], steps: int) -> None:
    editor = memoir(tiny, training, steps=steps)
    background = plain_background(tiny, training)
    for edit, change in zip(EDITS, editor.edit(tiny, EDITS), strict=True):
        mask = plain_mask(tiny, edit, background, editor.top_k or 0)
        matrix, losses = plain(tiny, edit, mask, editor)
        assert torch.equal(change.memory.masks, mask[None])
        assert torch.equal(change.memory.columns, mask.nonzero()[:, 0])
        assert error(change.memory.dense(), matrix) < 1e-3
        assert steps == 1 or losses[-1] < losses[0]


def test_an_edit_goes_on_from_the_memory_of_the_ones_before(tiny: Backbone, training: list[Case]) -> None:
    editor = memoir(tiny, training)
    background = plain_background(tiny, training)
    state: dict[str, torch.Tensor] = {}
    matrix: torch.Tensor | None = None
    masks: list[torch.Tensor] = []
    for edit in EDITS:
        before = matrix
        masks.append(plain_mask(tiny, edit, background, editor.top_k or 0))
        matrix, _ = plain(tiny, edit, masks[-1], editor, before)
        change, state = editor.edit_after(tiny, [edit], state)
        assert error(change.memory.dense(), matrix) < 1e-3
        assert before is None or torch.equal(matrix[:, ~masks[-1]], before[:, ~masks[-1]])
    assert torch.equal(change.memory.masks, torch.stack(masks))
    assert any(bool((one & other).any()) for one, other in itertools.pairwise(masks))  # some columns are shared


def test_a_large_gradient_is_scaled_down_and_a_small_one_is_not(llama: Backbone, training: list[Case]) -> None:
    def norm(**options: Any) -> float:
        (change,) = memoir(llama, training, steps=1, **options).edit(llama, EDITS[:1])
        return float(change.memory.weight.norm())

    free = norm(lr=1.0, clip=1e9)
    assert norm(lr=1.0, clip=free / 2) == pytest.approx(free / 2, rel=1e-4)
    assert norm(lr=1.0, clip=free * 2) == free
    assert norm(lr=3.0, clip=free / 2) == pytest.approx(3 * free / 2, rel=1e-4)


def test_descent_stops_where_nothing_is_left_to_learn(
    llama: Backbone, training: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, float]] = []

    def settled(loss: float, before: float) -> bool:
        seen.append((loss, before))
        return len(seen) == 4

    monkeypatch.setattr("xkeb_plugins.methods.memoir.training.has_settled", settled)
    (stopped,) = memoir(llama, training).edit(llama, EDITS[:1])
    monkeypatch.undo()
    (four,) = memoir(llama, training, steps=4).edit(llama, EDITS[:1])
    assert torch.equal(stopped.memory.weight, four.memory.weight)
    assert [before for _, before in seen[1:]] == [loss for loss, _ in seen[:-1]] and seen[0][1] == float("inf")


# TopHash ----------------------------------------------------------------------------------------------------------------


def test_a_question_has_the_columns_of_its_strongest_features() -> None:
    """Of four features; the first text has two tokens. Centred: [-3, 0, 1, 2] and [0, 0, 4, -9]."""
    hasher = TopHash(torch.tensor([5.0, 1.0, 0.0, 0.0]), torch.tensor([2, 0, 3, 1]), 2)
    inputs = torch.tensor(
        [[[1.0, 0, 2, 1], [3.0, 2, 0, 3], [99, 99, 99, 99]], [[5.0, 1, 2, -9], [5.0, 1, 5, -9], [5.0, 1, 5, -9]]]
    )
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert hasher.columns(inputs, mask).tolist() == [[1, 2], [1, 3]]  # of features 0 and 3, 2 and 3
    assert TopHash(hasher.background, hasher.permutation, 1).columns(inputs, mask).tolist() == [[2], [1]]


def test_a_seed_draws_the_permutation() -> None:
    one, same, other = (TopHash.drawn(torch.zeros(50), 3, seed).permutation for seed in (0, 0, 1))
    assert sorted(one.tolist()) == list(range(50))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_the_background_is_that_of_one_question_at_a_time(tiny: Backbone, training: list[Case]) -> None:
    hasher = memoir(tiny, training).hasher(tiny)
    assert error(hasher.background, plain_background(tiny, training)) < 1e-5


def test_the_background_is_of_questions_as_they_are_put(tiny: Backbone, training: list[Case]) -> None:
    asked = tiny.asked_in("qa")
    background = memoir(asked, training).hasher(asked).background
    probes = [probe for case in training for probe in case.probes if probe.property == "locality"][:QUESTIONS]
    texts = [tiny.asked_in("qa").frame(probe.language).text(probe.prompt, "") for probe in probes]
    means = [entering(tiny, torch.tensor([tiny.tokenizer(text)["input_ids"]])).mean(0) for text in texts]
    assert error(background, torch.stack(means).mean(0)) < 1e-5 < error(background, plain_background(tiny, training))


# The memory and the gate ------------------------------------------------------------------------------------------------


def two_edits() -> ResidualMemory:
    """Columns 0 and 2 of the first, 2 and 3 of the second, which wrote column 2 last."""
    first = ResidualMemory.empty(5, 2, CPU).written(torch.tensor([0, 2]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    return first.written(torch.tensor([2, 3]), torch.tensor([[5.0, 6.0], [7.0, 8.0]]))


def test_columns_are_written_and_all_others_stay() -> None:
    memory = two_edits()
    assert memory.dense().tolist() == [[1, 0, 5, 6, 0], [3, 0, 7, 8, 0]]
    assert memory.columns.tolist() == [0, 2, 3]
    assert memory.masks.int().tolist() == [[1, 0, 1, 0, 0], [0, 0, 1, 1, 0]]
    again = memory.written(torch.tensor([0, 2]), torch.zeros(2, 2))
    assert again.dense().tolist() == [[0, 0, 0, 6, 0], [0, 0, 0, 8, 0]] and torch.equal(again.masks, memory.masks)
    assert memory.dense().tolist()[0] == [1, 0, 5, 6, 0]  # a value


def test_a_memory_adds_what_is_in_the_edit_s_columns() -> None:
    inputs = torch.tensor([[[1.0, 10, 100, 1000, 9]], [[1.0, 10, 100, 1000, 9]], [[1.0, 10, 100, 1000, 9]]])
    added = two_edits().add(torch.tensor([0, 1, NONE]), inputs)
    assert added.tolist() == [[[501, 703]], [[6500, 8700]], [[0, 0]]]


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, [0, 1, 1, NONE]), (0.51, [0, 1, NONE, NONE])])
def test_the_edit_with_most_columns_in_common_answers(threshold: float, expected: list[int]) -> None:
    """Features stand for themselves. The third question has one of two columns in common, with the second edit alone; its
    answer comes from the columns of that edit, not from its own."""
    hasher = TopHash(torch.zeros(5), torch.arange(5), 2)
    change = ResidualMemoryChange("m", hasher, two_edits(), threshold)
    inputs = torch.tensor([[[7.0, 0, -8, 1, 0]], [[1.0, 0, 7, 8, 0]], [[1.0, 8, 2, 9, 0]], [[0.0, 9, 0, 1, 8]]])
    choice, added = change.pick(inputs, torch.ones(4, 1, dtype=torch.bool))
    assert choice.tolist() == expected
    assert torch.equal(change.add(choice, inputs), added)
    third = [5 * 2 + 6 * 9, 7 * 2 + 8 * 9] if expected[2] == 1 else [0, 0]
    assert added[:, 0].tolist() == [[7 - 40, 21 - 56], [35 + 48, 49 + 64], third, [0, 0]]


def gated(backbone: Backbone, training: list[Case]) -> tuple[ResidualMemoryChange, DenseChange]:
    """A change of the first of `EDITS` that is open for its question alone, and its matrix without a gate."""
    (change,) = memoir(backbone, training, lr=5.0).edit(backbone, EDITS[:1])
    background = plain_background(backbone, training)
    top_k = change.hasher.top_k
    own, *others = (plain_mask(backbone, edit, background, top_k) for edit in EDITS)
    most = max(int((own & other).sum()) for other in others)
    assert most < 0.9 * top_k
    path = backbone.layout.down(LAYER)
    alone = ResidualMemoryChange(path, change.hasher, change.memory, (most + top_k) / (2 * top_k))
    return alone, DenseChange({f"{path}.weight": change.memory.dense()})


@pytest.mark.parametrize("protocol", [TeacherForcingProtocol(), GenerateProtocol(max_tokens=4, cut="none")], ids=type)
def test_a_question_in_scope_has_the_memory_and_no_other_has(
    tiny: Backbone, training: list[Case], protocol: Protocol
) -> None:
    """All in one batch, of several lengths; and under a change of each, row by row."""
    change, dense = gated(tiny, training)
    queries = [question(edit) for edit in EDITS]
    before = protocol.predict(tiny, queries)
    through = predict_edited(tiny, dense, queries, protocol)
    assert before[0].ids != through[0].ids and before[2].ids != through[2].ids
    expected = [through[0].ids, before[1].ids, before[2].ids]
    assert [answer.ids for answer in predict_edited(tiny, change, queries, protocol)] == expected
    intervention = batched(tiny, [change, change])
    assert intervention is not None
    with intervention.applied(tiny):
        rows = [Query(edit.prompt, edit.target, edit.language, row=row) for edit in EDITS for row in (0, 1)]
        answers = [answer.ids for answer in protocol.predict(tiny, rows, intervention)]
    assert answers == [ids for ids in expected for _ in (0, 1)]


def test_out_of_scope_every_bit_is_as_before(tiny: Backbone, training: list[Case]) -> None:
    change, _ = gated(tiny, training)
    own, other = (torch.tensor([tiny.encode(edit.prompt).ids]) for edit in (EDITS[0], EDITS[2]))
    with torch.no_grad():
        before = tiny.hidden(other), tiny.hidden(own)
        with change.applied(tiny):
            assert torch.equal(tiny.hidden(other), before[0])
            assert not torch.equal(tiny.hidden(own), before[1])
        assert torch.equal(tiny.hidden(own), before[1])


# Sequences --------------------------------------------------------------------------------------------------------------


def test_a_sequence_is_carried_on_and_saved(llama: Backbone, training: list[Case], tmp_path: Path) -> None:
    editor = memoir(llama, training)
    _, state = editor.edit_after(llama, EDITS[:1], {})
    change, state = editor.edit_after(llama, EDITS[1:], state)
    at_once, _ = editor.edit_after(llama, EDITS, {})
    change.save(tmp_path / "change")
    loaded = load_change(tmp_path / "change")
    assert isinstance(loaded, ResidualMemoryChange)
    for other in (loaded, at_once):
        assert (other.path, other.threshold, other.hasher.top_k) == (change.path, 0.4, change.hasher.top_k)
        for name, tensor in change.memory.tensors().items():
            assert torch.equal(tensor, other.memory.tensors()[name]) and torch.equal(tensor, state[name])
        assert torch.equal(other.hasher.background, change.hasher.background)
        assert torch.equal(other.hasher.permutation, change.hasher.permutation)
    queries = [question(edit) for edit in EDITS]
    assert predict_edited(llama, loaded, queries) == predict_edited(llama, change, queries)


def test_an_edit_made_again_with_another_answer_has_the_columns_of_the_first(
    llama: Backbone, training: list[Case]
) -> None:
    other = Edit(EDITS[0].prompt, "Osaka", "en")
    change, _ = memoir(llama, training).edit_after(llama, [EDITS[0], other], {})
    assert len(change.memory.masks) == 1
    background = plain_background(llama, training)
    editor = memoir(llama, training)
    mask = plain_mask(llama, EDITS[0], background, change.hasher.top_k)
    first, _ = plain(llama, EDITS[0], mask, editor)
    assert error(change.memory.dense(), plain(llama, other, mask, editor, first)[0]) < 1e-3


def test_changes_of_different_layers_are_not_batched(llama: Backbone, training: list[Case]) -> None:
    changes = [memoir(llama, training, layer=layer, steps=1).edit(llama, EDITS[:1])[0] for layer in (1, 2)]
    assert batched(llama, changes) is None and batched(llama, changes[:1]) is not None


def test_bad_options_are_refused(llama: Backbone, training: list[Case]) -> None:
    d_in = llama.layout.intermediate_size
    with pytest.raises(RequestError, match=r"memoir\.layer is 6; .* layers 0 to 5"):
        memoir(llama, training, layer=6)
    with pytest.raises(RequestError, match=rf"memoir\.top_k is {d_in + 1}; .* {d_in} columns"):
        memoir(llama, training, top_k=d_in + 1)
    with pytest.raises(RequestError, match=r"threshold"):
        memoir(llama, training, threshold=1.5)
    with pytest.raises(RequestError, match=r"call fit\(\) first"):
        xkeb.load_editor("memoir", **OPTIONS).edit(llama, EDITS[:1])
    given = options_of(xkeb.load_editor("memoir").configure(llama.spec))
    assert {name: given[name] for name in ("layer", "lr", "top_k", "threshold")} == {
        "layer": 5,  # 27 of 32, of 6
        "lr": 1.0,
        "top_k": round(d_in * 2 / 7),
        "threshold": 0.4,
    }
