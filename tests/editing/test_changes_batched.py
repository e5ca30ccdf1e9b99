"""Changes row by row: many at work in one batch, each row under its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from some_changes import context, dense, fingerprint, hooks, ids, low_rank, noise, one_by_one, untouched

import xkeb
from xkeb.editing.changes import Change, DenseChange, LowRankChange, batched
from xkeb.evaluation.probing import predict_after
from xkeb.models.backbone import Backbone
from xkeb.types import Case


def test_row_by_row_gives_the_same_tokens_as_one_at_a_time(
    tiny: Backbone, cases: list[Case], make: Callable[[Backbone, int], Any]
) -> None:
    changes = [make(tiny, seed) for seed in range(len(cases))]
    assert batched(tiny, changes) is not None
    expected = one_by_one(tiny, changes, cases)
    assert ids(predict_after(tiny, changes, cases)) == expected
    plain = untouched(tiny, cases)
    assert all(answers != before for answers, before in zip(expected, plain, strict=True))


def test_row_by_row_each_row_sees_its_own_change(tiny: Backbone, cases: list[Case]) -> None:
    """The same questions under every change: the answers differ, and are those of one at a time."""
    for make in (low_rank, dense):
        changes = [make(tiny, 10 * seed) for seed in range(4)]
        same = [cases[0]] * 4
        together_ids = ids(predict_after(tiny, changes, same))
        assert together_ids == one_by_one(tiny, changes, same)
        assert len({tuple(answers) for answers in together_ids}) == 4


def test_row_by_row_with_mixed_ranks_layers_and_a_missing_module(tiny: Backbone, cases: list[Case]) -> None:
    changes = [
        low_rank(tiny, 0, (1,), rank=1),
        low_rank(tiny, 1, (0, 3), rank=4),
        low_rank(tiny, 2, (1, 2), rank=2),
        LowRankChange({}),
    ]
    answers = ids(predict_after(tiny, changes, cases))
    assert answers == one_by_one(tiny, changes, cases)
    plain = untouched(tiny, cases)
    assert [a == b for a, b in zip(answers, plain, strict=True)] == [False, False, False, True]


def test_row_by_row_with_dense_changes_of_different_matrices(tiny: Backbone, cases: list[Case]) -> None:
    layout = tiny.layout
    up = f"{layout.ups(2)[0]}.weight"
    changes = [
        dense(tiny, 0, (1,)),
        dense(tiny, 1, (0, 3)),
        DenseChange({up: noise(layout.intermediate_size, layout.hidden_size, seed=5, scale=0.3)}),
        DenseChange({}),
    ]
    assert batched(tiny, changes) is not None
    answers = ids(predict_after(tiny, changes, cases))
    assert answers == one_by_one(tiny, changes, cases)
    plain = untouched(tiny, cases)
    assert [a == b for a, b in zip(answers, plain, strict=True)] == [False, False, False, True]


def test_row_by_row_touches_no_weight_and_leaves_no_hook(
    tiny: Backbone, cases: list[Case], make: Callable[[Backbone, int], Any]
) -> None:
    before = fingerprint(tiny)
    rows = batched(tiny, [make(tiny, seed) for seed in range(2)])
    assert rows is not None
    with rows.applied(tiny):
        assert bool(hooks(tiny)) == (make is not context)
        assert fingerprint(tiny) == before
    assert not hooks(tiny)
    with pytest.raises(ZeroDivisionError), rows.applied(tiny):
        1 / 0  # noqa: B018
    assert not hooks(tiny)


@pytest.mark.parametrize("kind", ["low-rank", "dense"])
def test_hooks_are_removed_when_one_of_them_can_not_be_made(tiny_folders: dict[str, Path], kind: str) -> None:
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu")
    nowhere = f"{backbone.layout.layers}.1.nowhere"
    changes: list[Change] = [
        low_rank(backbone, 0, (0,)),
        LowRankChange({nowhere: (torch.ones(2, 1), torch.ones(1, 2))}),
    ]
    if kind == "dense":
        changes = [dense(backbone, 0, (0,)), DenseChange({f"{nowhere}.weight": torch.ones(2, 2)})]
    rows = batched(backbone, changes)
    assert rows is not None
    with pytest.raises(AttributeError), rows.applied(backbone):
        raise AssertionError("it was applied")
    assert not hooks(backbone)


def test_row_by_row_in_bfloat16_stays_in_bfloat16(half: Backbone, cases: list[Case]) -> None:
    for make in (low_rank, dense):
        answers = predict_after(half, [make(half, seed) for seed in range(4)], cases)
        assert ids(answers) != untouched(half, cases)


class Opaque:
    """A third party's change: it can only be applied."""

    def __init__(self, path: str) -> None:
        self.path = path

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        handle = backbone.module(self.path).register_forward_hook(lambda _, __, output: output * -3)
        try:
            yield
        finally:
            handle.remove()


def test_opaque_changes_are_applied_alone(tiny: Backbone, cases: list[Case]) -> None:
    changes = [Opaque(tiny.layout.down(layer)) for layer in range(4)]
    assert isinstance(changes[0], Change)
    assert batched(tiny, changes) is None
    answers = ids(predict_after(tiny, changes, cases))
    assert answers == one_by_one(tiny, changes, cases)
    assert all(a != b for a, b in zip(answers, untouched(tiny, cases), strict=True))


def test_changes_of_different_kinds_are_applied_alone(tiny: Backbone, cases: list[Case]) -> None:
    before = fingerprint(tiny)
    changes: list[Change] = [low_rank(tiny, 0), dense(tiny, 1), context(tiny, 2), Opaque(tiny.layout.down(0))]
    assert batched(tiny, changes) is None
    answers = ids(predict_after(tiny, changes, cases))
    assert answers == one_by_one(tiny, changes, cases)
    assert all(a != b for a, b in zip(answers, untouched(tiny, cases), strict=True))
    assert fingerprint(tiny) == before and not hooks(tiny)


def test_dense_changes_of_more_than_linear_maps_are_applied_alone(tiny: Backbone, cases: list[Case]) -> None:
    norm = next(name for name, parameter in tiny.model.named_parameters() if parameter.ndim == 1)
    embeddings = next(
        name for name, p in tiny.model.named_parameters() if p is tiny.model.get_input_embeddings().weight
    )
    for parameter in (norm, embeddings):
        shape = tuple(tiny.parameter(parameter).shape)
        changes = [DenseChange({parameter: noise(*shape, seed=seed)}) for seed in range(4)]
        assert batched(tiny, changes) is None
        answers = ids(predict_after(tiny, changes, cases))
        assert answers == one_by_one(tiny, changes, cases)
        assert answers != untouched(tiny, cases)
