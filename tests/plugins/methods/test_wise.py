"""WISE: its parts by hand, and its memories against a plain one written here: the whole model, one text at a time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_texts import EDITS, error, ids_of, question

import xkeb
from xkeb.editing.changes import Change, DenseChange, batched, load_change
from xkeb.editing.editor import options_of, prepare
from xkeb.errors import RequestError
from xkeb.evaluation.probing import predict_edited
from xkeb.evaluation.protocols import Protocol, TeacherForcingProtocol
from xkeb.evaluation.protocols.generate import GenerateProtocol
from xkeb.models.backbone import Backbone
from xkeb.models.prediction import predict
from xkeb.types import Case, Edit, Query
from xkeb_plugins.methods.wise.change import SideMemoryChange
from xkeb_plugins.methods.wise.editor import Wise
from xkeb_plugins.methods.wise.memory import Memories, Sharding, SideMemory, activation_difference
from xkeb_plugins.methods.wise.merging import merge
from xkeb_plugins.methods.wise.training import Margins, write_edit

LAYER = 2
PREFIX = "In short. "
OPTIONS: dict[str, Any] = {
    "layer": LAYER,
    "steps": 10,
    "lr": 0.05,
    "alpha": 0.1,
    "beta": 0.5,
    "gamma": 0.3,
    "context_templates": (PREFIX,),
}


def wise(backbone: Backbone, training: Sequence[Case], **options: Any) -> Wise:
    editor = prepare(xkeb.load_editor("wise", **{**OPTIONS, **options}), backbone, training)
    assert isinstance(editor, Wise)
    return editor


def missing(values: list[torch.Tensor]) -> torch.Tensor:
    """Mean over those above zero."""
    above = [value for value in values if value > 0]
    return torch.stack(above).mean() if above else torch.tensor(0.0)


def plain(
    backbone: Backbone, edit: Edit, editor: Wise, mask: torch.Tensor, start: torch.Tensor | None = None
) -> tuple[torch.Tensor, float, list[float]]:
    """The delta, the smallest difference, and the losses: SGD on a copy of the matrix itself, which gets no gradient where
    the mask is false."""
    model: Any = copy.deepcopy(backbone.model)
    module = model.get_submodule(backbone.layout.down(LAYER))
    turned = type(module).__name__ == "Conv1D"
    original = module.weight.detach().clone()
    weight = module.weight.requires_grad_(True)
    if start is not None:
        weight.data.add_(start.T if turned else start)
    entered: list[torch.Tensor] = []
    module.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    texts = [ids_of(backbone, edit, before) for before in ("", PREFIX)]
    unrelated = torch.tensor([backbone.tokenizer(editor.unrelated_to(edit).prompt)["input_ids"]])

    def difference(inputs: torch.Tensor) -> torch.Tensor:
        """Of [T, d_in]."""
        moved = weight - original
        return torch.stack([(token @ moved if turned else moved @ token).norm() for token in inputs]).mean()

    def pass_of(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = model(ids).logits[0]
        return logits, entered.pop()[0]

    def differences() -> tuple[torch.Tensor, list[torch.Tensor]]:
        answers, edits = [], []
        for ids, answer in texts:
            logits, inputs = pass_of(ids)
            chances = logits.log_softmax(-1)
            answers.append(-torch.stack([chances[i - 1, ids[0, i]] for i in answer]).mean())
            edits.append(difference(inputs[: answer[0]]))
        return torch.stack(answers).mean(), edits

    optimizer = torch.optim.SGD([weight], lr=editor.lr or 0.0)
    losses: list[float] = []
    alpha, beta, gamma = (float(value or 0) for value in (editor.alpha, editor.beta, editor.gamma))
    for _ in range(editor.steps):
        optimizer.zero_grad()
        answer, edits = differences()
        outside = difference(pass_of(unrelated)[1])
        margins = [[outside - alpha], [beta - one for one in edits], [gamma - (one - outside) for one in edits]]
        loss = answer + sum(missing(values) for values in margins)
        loss.backward()
        weight.grad.mul_(mask.T if turned else mask)
        optimizer.step()
        losses.append(float(loss.detach()))
    with torch.no_grad():
        _, edits = differences()
    moved = (weight - original).detach()
    return moved.T if turned else moved, float(min(edits)), losses


@pytest.mark.parametrize("steps", [1, 10])
def test_each_memory_is_that_of_a_plain_wise(tiny: Backbone, training: list[Case], steps: int) -> None:
    editor = wise(tiny, training, steps=steps)
    d_out, d_in = tiny.layout.hidden_size, tiny.layout.intermediate_size
    mask = editor.mask((d_out, d_in), 0)
    assert float(mask.float().mean()) == pytest.approx(0.2, abs=0.03)
    for edit, change in zip(EDITS, editor.edit(tiny, EDITS), strict=True):
        delta, smallest, losses = plain(tiny, edit, editor, mask)
        (memory,) = change.memories
        assert error(memory.delta, delta) < 1e-3 and memory.smallest == pytest.approx(smallest, rel=1e-3)
        assert not memory.delta[~mask].any()
        assert steps == 1 or losses[-1] < losses[0]


def test_a_plain_loss_is_the_sum_of_the_margins_and_of_what_is_missing() -> None:
    margins = Margins(5.0, 20.0, 10.0)
    edits, unrelated = torch.tensor([22.0, 14.0, 12.0]), torch.tensor([7.0])
    # 7 - 5; the mean of 6 and 8; 10 - 15 is met, so the mean of 3 and 5
    assert float(margins.loss(edits, unrelated)) == pytest.approx(2 + 7 + 4)
    assert float(margins.loss(torch.tensor([30.0]), torch.tensor([4.0]))) == 0


def test_a_bound_holds_and_a_second_edit_goes_on(llama: Backbone, training: list[Case]) -> None:
    editor = wise(llama, training, norm_constraint=1e-3)
    (change,) = editor.edit(llama, EDITS[:1])
    assert float(change.memories[0].delta.abs().max()) == pytest.approx(1e-3)
    editor = wise(llama, training)
    (first,) = editor.edit(llama, EDITS[:1])
    both, _ = editor.edit_after(llama, EDITS[1:2], editor.edit_after(llama, EDITS[:1], {})[1])
    mask = editor.mask(tuple(first.memories[0].delta.shape), 0)  # type: ignore[arg-type]
    delta, smallest, _ = plain(llama, EDITS[1], editor, mask, first.memories[0].delta)
    (memory,) = both.memories
    assert error(memory.delta, delta) < 1e-3
    assert memory.smallest == pytest.approx(min(smallest, first.memories[0].smallest), rel=1e-3)


# Merging ----------------------------------------------------------------------------------------------------------------


def test_ties_by_hand() -> None:
    """Trimmed to two entries each: [4, 0, 3, 0], [-1, 0, 5, 0], [2, 0, 0, -6]; signs + + + -."""
    deltas = [torch.tensor([row]) for row in ([4.0, 0.1, 3.0, -0.2], [-1.0, 0.3, 5.0, 0.2], [2.0, 1.0, -1.0, -6.0])]
    assert merge(deltas, 0.5).tolist() == [[3.0, 0.0, 4.0, -6.0]]
    assert torch.equal(merge(deltas[:1], 1.0), deltas[0])


def test_shards_fill_and_merge() -> None:
    memories, sharding = Memories(), Sharding(edits_per_shard=2, shards_per_memory=2, density=1.0)
    seen = []
    for value, smallest in ((1.0, 5.0), (2.0, 7.0), (3.0, 4.0), (4.0, 6.0), (5.0, 9.0)):
        memories = memories.followed(SideMemory(torch.full((1, 2), value), smallest), sharding)
        seen.append([(float(memory.delta[0, 0]), memory.smallest) for memory in memories.all()])
        again = Memories.from_tensors(memories.tensors(), torch.device("cpu"))
        assert repr(again) == repr(memories)
    assert seen == [[(1, 5)], [(2, 5)], [(2, 5), (3, 4)], [(3, 4)], [(3, 4), (5, 9)]]
    assert memories.begun == 2


# The gate -----------------------------------------------------------------------------------------------------------------


def test_the_memory_with_the_largest_difference_answers() -> None:
    """Of one dimension: the differences are |a| w, and |a| 2 w' for the second."""
    change = SideMemoryChange(
        "m", [SideMemory(torch.tensor([[1.0]]), 2.0), SideMemory(torch.tensor([[2.0]]), 8.0)], 0.5
    )
    inputs = torch.tensor([[[0.5], [1.0]], [[1.0], [2.0]], [[3.0], [3.0]], [[-4.0], [9.0]]])
    mask = torch.tensor([[True, True], [True, True], [True, True], [True, False]])
    choice, added = change.pick(inputs, mask)
    assert choice.tolist() == [-1, 0, 1, 1]  # 0.75; 1.5, above 1; 3 and 6, above 4; 4 and 8, without the padding
    assert added[:, :, 0].tolist() == [[0, 0], [1, 2], [6, 6], [-8, 18]]
    assert torch.equal(change.add(choice, inputs), added)


def test_a_text_s_difference_is_the_mean_over_its_tokens() -> None:
    inputs = torch.tensor([[[3.0, 4.0], [0.0, 1.0], [9.0, 9.0]]])
    assert activation_difference(torch.eye(2), inputs, torch.tensor([[True, True, False]])).tolist() == [3.0]


def gated(backbone: Backbone) -> tuple[SideMemoryChange, DenseChange]:
    """A change whose gate is open for the first of `EDITS` alone, and its matrix without a gate."""
    path = backbone.layout.down(LAYER)
    seen: list[torch.Tensor] = []
    handle = backbone.module(path).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    for edit in EDITS:
        backbone.hidden(torch.tensor([backbone.encode(edit.prompt).ids]))
    handle.remove()
    others = torch.cat(seen[1:])
    free = seen[0] - seen[0] @ torch.linalg.pinv(others) @ others  # what no other question has
    noise = torch.randn(backbone.layout.hidden_size, len(free), generator=torch.Generator().manual_seed(0))
    delta = noise @ free * 10 + torch.randn(noise.shape[0], free.shape[1], generator=torch.Generator().manual_seed(1))
    own, *rest = [float((one @ delta.T).norm(dim=-1).mean()) for one in seen]
    assert own > 1.02 * max(rest)
    memory = SideMemory(delta, (own + max(rest)) / 2)
    return SideMemoryChange(path, [memory], 1.0), DenseChange({f"{path}.weight": delta})


@pytest.mark.parametrize("protocol", [TeacherForcingProtocol(), GenerateProtocol(max_tokens=4, cut="none")], ids=type)
def test_a_question_in_scope_takes_the_side_memory_and_no_other_does(tiny: Backbone, protocol: Protocol) -> None:
    """All in one batch, of several lengths; and under a change of each, row by row."""
    change, dense = gated(tiny)
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


def test_a_pass_that_is_not_the_suite_s_is_decided_by_all_its_tokens(llama: Backbone) -> None:
    """And what transformers generates takes the way of its question, padded or not."""
    change, dense = gated(llama)
    texts = [llama.encode(edit.prompt).ids for edit in EDITS]
    width = max(map(len, texts))
    ids = torch.tensor([[0] * (width - len(text)) + list(text) for text in texts])
    mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts])

    def said(one: Change | None) -> list[list[int]]:
        model: Any = llama.model
        settings = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
        if one is None:
            return model.generate(ids, attention_mask=mask, **settings)[:, width:].tolist()
        with one.applied(llama):
            return model.generate(ids, attention_mask=mask, **settings)[:, width:].tolist()

    before, through = said(None), said(dense)
    assert before[0] != through[0] and before[2] != through[2]
    assert said(change) == [through[0], before[1], before[2]]


def test_out_of_scope_every_bit_is_as_before(tiny: Backbone) -> None:
    change, _ = gated(tiny)
    ids = torch.tensor([tiny.encode(EDITS[2].prompt).ids])
    with torch.no_grad():
        before = tiny.hidden(ids)
        with change.applied(tiny):
            assert torch.equal(tiny.hidden(ids), before)


# Sequences --------------------------------------------------------------------------------------------------------------


def test_a_sequence_goes_through_shards_and_is_saved(llama: Backbone, training: list[Case], tmp_path: Path) -> None:
    editor = wise(llama, training, edits_per_shard=1)
    change, state = editor.edit_after(llama, EDITS[:1], {})
    change, state = editor.edit_after(llama, EDITS[1:], state)
    at_once, _ = editor.edit_after(llama, EDITS, {})
    alone = [wise(llama, training, seed=0).edit(llama, [edit])[0].memories[0] for edit in EDITS[:1]]
    merged, current = change.memories
    shape = tuple(merged.delta.shape)
    masks = [editor.mask(shape, shard) for shard in range(3)]  # type: ignore[arg-type]
    assert not merged.delta[~(masks[0] | masks[1])].any() and not current.delta[~masks[2]].any()
    own = masks[0] & ~masks[1]
    assert torch.equal(merged.delta[own], alone[0].delta[own])
    change.save(tmp_path / "change")
    loaded = load_change(tmp_path / "change")
    assert isinstance(loaded, SideMemoryChange)
    for other in (loaded, at_once):
        assert (other.path, other.scope_ratio) == (change.path, change.scope_ratio)
        for one, two in zip(change.memories, other.memories, strict=True):
            assert torch.equal(one.delta, two.delta) and one.smallest == two.smallest
    queries = [question(edit) for edit in EDITS]
    assert predict_edited(llama, loaded, queries) == predict_edited(llama, change, queries)


def test_an_edit_has_the_same_unrelated_question_each_time(llama: Backbone, training: list[Case]) -> None:
    editor = wise(llama, training)
    asked = {probe.prompt for case in training for probe in case.probes if probe.property == "locality"}
    drawn = [editor.unrelated_to(edit) for edit in EDITS]
    texts = {probe.prompt for probe in drawn}
    assert drawn == [editor.unrelated_to(edit) for edit in EDITS] and texts <= asked and len(texts) > 1


def test_an_unrelated_question_is_put_as_the_edit_is(
    llama: Backbone, training: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []

    def keep(backbone: Backbone, layer: int, texts: Sequence[Any], unrelated: Sequence[int], *rest: Any) -> Any:
        seen.append((backbone.said(texts[0].ids), backbone.said(unrelated)))
        return write_edit(backbone, layer, texts, unrelated, *rest)

    monkeypatch.setattr("xkeb_plugins.methods.wise.editor.write_edit", keep)
    editor = wise(llama, training, steps=1)
    for style in ("plain", "qa"):
        editor.edit(llama.asked_in(style), EDITS[:1])
    (plain_edit, plain_other), (edit, other) = seen
    before = edit[: edit.index(EDITS[0].prompt)]
    assert not plain_other.startswith(before) and other.startswith(before) and EDITS[0].prompt in plain_edit


def test_changes_of_different_layers_are_not_batched(llama: Backbone, training: list[Case]) -> None:
    changes = [wise(llama, training, layer=layer, steps=1).edit(llama, EDITS[:1])[0] for layer in (1, 2)]
    assert batched(llama, changes) is None and batched(llama, changes[:1]) is not None


def test_bad_options_are_refused(llama: Backbone, training: list[Case]) -> None:
    with pytest.raises(RequestError, match=r"wise\.layer is 6; .* layers 0 to 5"):
        wise(llama, training, layer=6)
    with pytest.raises(RequestError, match=r"wise\.alpha is 3.* and wise\.beta 2.*a larger beta"):
        wise(llama, training, alpha=3.0, beta=2.0)
    with pytest.raises(RequestError, match=r"scope_ratio"):
        wise(llama, training, scope_ratio=1.5)
    with pytest.raises(RequestError, match=r"call fit\(\) first"):
        xkeb.load_editor("wise", **OPTIONS).edit(llama, EDITS[:1])
    given = options_of(xkeb.load_editor("wise").configure(llama.spec))
    assert {name: given[name] for name in ("layer", "alpha", "beta", "gamma", "lr")} == {
        "layer": 5,  # 27 of 32, of 6
        "alpha": 5.0,
        "beta": 20.0,
        "gamma": 10.0,
        "lr": 1.0,
    }
    assert predict(llama, [question(EDITS[0])])
