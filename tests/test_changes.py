"""What an edit does to a model, as data: applied alone, and row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import xkeb
from xkeb.backbone import Backbone
from xkeb.changes import Change, ContextChange, DenseChange, LowRankChange, load_change, together
from xkeb.errors import RequestError
from xkeb.evaluation import alone, predict_after, queries
from xkeb.types import Case, Prediction


def fingerprint(backbone: Backbone) -> str:
    """sha256 over every parameter and buffer, bit by bit."""
    state = hashlib.sha256()
    model = backbone.model
    for name, tensor in sorted([*model.named_parameters(), *model.named_buffers()], key=lambda pair: pair[0]):
        state.update(name.encode())
        state.update(tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def hooks(backbone: Backbone) -> list[str]:
    """Paths of the modules that have a hook."""
    return [p for p, m in backbone.model.named_modules() if m._forward_hooks or m._forward_pre_hooks]


def noise(*shape: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def low_rank(backbone: Backbone, seed: int, layers: Sequence[int] = (1,), rank: int = 1) -> LowRankChange:
    layout = backbone.layout
    return LowRankChange(
        {
            layout.down(layer): (
                noise(layout.hidden_size, rank, seed=seed + layer, scale=0.7),
                noise(rank, layout.intermediate_size, seed=seed + layer + 1, scale=0.7),
            )
            for layer in layers
        }
    )


def dense(backbone: Backbone, seed: int, layers: Sequence[int] = (1,)) -> DenseChange:
    layout = backbone.layout
    shape = (layout.hidden_size, layout.intermediate_size)
    return DenseChange(
        {f"{layout.down(layer)}.weight": noise(*shape, seed=seed + layer, scale=0.3) for layer in layers}
    )


def context(_: Backbone, seed: int) -> ContextChange:
    return ContextChange("A word before. " * (seed + 1))


KINDS: dict[str, Callable[[Backbone, int], Any]] = {"low-rank": low_rank, "dense": dense, "context": context}


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Callable[[Backbone, int], Any]:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh"))[:4]


@pytest.fixture(scope="module", params=["llama", "gemma3", "gpt2"])
def half(request: pytest.FixtureRequest, tiny_folders: dict[str, Path]) -> Backbone:
    return xkeb.load_backbone("hf", path=str(tiny_folders[request.param]), device="cpu", dtype="bfloat16")


def ids(answers: Sequence[Sequence[Prediction]]) -> list[list[tuple[int, ...]]]:
    return [[answer.ids for answer in row] for row in answers]


def one_by_one(backbone: Backbone, changes: Sequence[Change], cases: Sequence[Case]) -> list[list[tuple[int, ...]]]:
    return ids([alone(backbone, change, queries(case, 0)) for change, case in zip(changes, cases, strict=True)])


def untouched(backbone: Backbone, cases: Sequence[Case]) -> list[list[tuple[int, ...]]]:
    return one_by_one(backbone, [ContextChange("")] * len(cases), cases)


# Applied alone -------------------------------------------------------------------------------------------------------


def test_it_restores_every_parameter_to_the_bit(
    tiny: Backbone, cases: list[Case], make: Callable[[Backbone, int], Any]
) -> None:
    before, answers = fingerprint(tiny), untouched(tiny, cases)
    change = make(tiny, 3)
    with change.applied(tiny):
        changed = ids([xkeb.predict.predict(tiny, queries(case, 0)) for case in cases])
    assert changed != answers
    assert fingerprint(tiny) == before
    assert untouched(tiny, cases) == answers


def test_it_restores_every_parameter_in_bfloat16(half: Backbone, make: Callable[[Backbone, int], Any]) -> None:
    assert half.dtype == torch.bfloat16
    before = fingerprint(half)
    with make(half, 3).applied(half):
        assert (fingerprint(half) != before) == (make is not context)
    assert fingerprint(half) == before


def test_it_restores_after_an_exception_inside(tiny: Backbone, make: Callable[[Backbone, int], Any]) -> None:
    before = fingerprint(tiny)
    with pytest.raises(ZeroDivisionError), make(tiny, 3).applied(tiny):
        1 / 0  # noqa: B018
    assert fingerprint(tiny) == before
    assert tiny.context("en") == ""
    assert not hooks(tiny)


def test_it_restores_after_an_exception_while_it_is_applied(tiny: Backbone) -> None:
    layout, before = tiny.layout, fingerprint(tiny)
    good, bad = low_rank(tiny, 0).deltas(), noise(layout.hidden_size + 1, layout.intermediate_size, seed=0)
    wrong_dense = DenseChange({**good, f"{layout.down(2)}.weight": bad})
    wrong_rank = LowRankChange({**low_rank(tiny, 0).factors, layout.down(2): (bad[:, :1], bad[:1])})
    unknown = DenseChange({**good, "no.such.weight": bad})
    for change in (wrong_dense, wrong_rank, unknown):
        with pytest.raises((RuntimeError, AttributeError)), change.applied(tiny):
            raise AssertionError("it was applied")
        assert fingerprint(tiny) == before


def test_one_inside_another_is_undone_in_turn(tiny: Backbone) -> None:
    before = fingerprint(tiny)
    with low_rank(tiny, 0).applied(tiny):
        between = fingerprint(tiny)
        with dense(tiny, 1, (1, 2)).applied(tiny):
            assert fingerprint(tiny) not in (before, between)
        assert fingerprint(tiny) == between
    assert fingerprint(tiny) == before


def test_contexts_one_inside_another_are_undone_in_turn(llama: Backbone) -> None:
    with ContextChange("a").applied(llama):
        with ContextChange({"en": "b"}).applied(llama):
            assert llama.context("en") == "b"
            with pytest.raises(RequestError, match="none for 'zh'"):
                llama.context("zh")
        assert llama.context("zh") == "a"
    assert llama.context("en") == ""


def test_a_parameter_with_two_names_is_restored_to_the_bit(tiny_folders: dict[str, Path]) -> None:
    """Tied embeddings: the second name's original must not be what the first one's change left."""
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders["gemma3"]), device="cpu")
    head, embeddings = "lm_head.weight", "model.embed_tokens.weight"
    assert backbone.parameter(head) is backbone.parameter(embeddings)
    before, shape = fingerprint(backbone), tuple(backbone.parameter(head).shape)
    with DenseChange({head: noise(*shape, seed=0), embeddings: noise(*shape, seed=1)}).applied(backbone):
        assert fingerprint(backbone) != before
    assert fingerprint(backbone) == before


@pytest.mark.filterwarnings("error")  # torch will refuse to transpose a vector
def test_biases_and_norms_are_changed_and_restored(tiny: Backbone) -> None:
    vectors = [name for name, parameter in tiny.model.named_parameters() if parameter.ndim == 1]
    updates = {name: noise(len(tiny.parameter(name)), seed=i) for i, name in enumerate(vectors)}
    assert updates
    before = {name: tiny.parameter(name).detach().clone() for name in vectors}
    total = fingerprint(tiny)
    with DenseChange(updates).applied(tiny):
        for name in vectors:
            torch.testing.assert_close(tiny.parameter(name).detach(), before[name] + updates[name])
    assert fingerprint(tiny) == total


def test_it_adds_exactly_its_deltas(tiny: Backbone) -> None:
    """In the orientation in which the module multiplies: GPT-2 stores its matrices transposed."""
    layout = tiny.layout
    x = noise(5, layout.intermediate_size, seed=9)
    for change in (low_rank(tiny, 4, (0, 2), rank=3), dense(tiny, 4, (0, 2))):
        deltas = change.deltas()
        assert set(deltas) == {f"{layout.down(0)}.weight", f"{layout.down(2)}.weight"}
        for layer in (0, 1, 2):
            module = tiny.module(layout.down(layer))
            old = module(x)
            with change.applied(tiny):
                new = module(x)
            delta = deltas.get(f"{layout.down(layer)}.weight")
            if delta is None:
                assert torch.equal(new, old)
            else:
                assert delta.shape == (layout.hidden_size, layout.intermediate_size)
                torch.testing.assert_close(new, old + x @ delta.T, rtol=1e-4, atol=1e-4)


def test_deltas_of_a_low_rank_change_are_left_times_right(llama: Backbone) -> None:
    change = low_rank(llama, 2, rank=3)
    ((path, (left, right)),) = change.factors.items()
    assert torch.equal(change.deltas()[f"{path}.weight"], left @ right)
    assert torch.linalg.matrix_rank(left @ right) == 3


def test_factors_that_do_not_fit_are_refused() -> None:
    for left, right in (((4, 2), (3, 5)), ((4,), (1, 5)), ((4, 1), (5,))):
        with pytest.raises(ValueError, match="expected"):
            LowRankChange({"a.b": (torch.zeros(left), torch.zeros(right))})


def test_it_does_not_follow_the_dictionary_it_was_made_from(llama: Backbone) -> None:
    updates = dense(llama, 0).deltas()
    change = DenseChange(updates)
    change.deltas().clear()
    updates.clear()
    assert change.deltas()


# Row by row ----------------------------------------------------------------------------------------------------------


def test_row_by_row_gives_the_same_tokens_as_one_at_a_time(
    tiny: Backbone, cases: list[Case], make: Callable[[Backbone, int], Any]
) -> None:
    changes = [make(tiny, seed) for seed in range(len(cases))]
    assert together(tiny, changes) is not None
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
    assert together(tiny, changes) is not None
    answers = ids(predict_after(tiny, changes, cases))
    assert answers == one_by_one(tiny, changes, cases)
    plain = untouched(tiny, cases)
    assert [a == b for a, b in zip(answers, plain, strict=True)] == [False, False, False, True]


def test_row_by_row_touches_no_weight_and_leaves_no_hook(
    tiny: Backbone, cases: list[Case], make: Callable[[Backbone, int], Any]
) -> None:
    before = fingerprint(tiny)
    rows = together(tiny, [make(tiny, seed) for seed in range(2)])
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
    rows = together(backbone, changes)
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
    assert together(tiny, changes) is None
    answers = ids(predict_after(tiny, changes, cases))
    assert answers == one_by_one(tiny, changes, cases)
    assert all(a != b for a, b in zip(answers, untouched(tiny, cases), strict=True))


def test_changes_of_different_kinds_are_applied_alone(tiny: Backbone, cases: list[Case]) -> None:
    before = fingerprint(tiny)
    changes: list[Change] = [low_rank(tiny, 0), dense(tiny, 1), context(tiny, 2), Opaque(tiny.layout.down(0))]
    assert together(tiny, changes) is None
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
        assert together(tiny, changes) is None
        answers = ids(predict_after(tiny, changes, cases))
        assert answers == one_by_one(tiny, changes, cases)
        assert answers != untouched(tiny, cases)


# On disk -------------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_loaded(tiny: Backbone, tmp_path: Path, make: Callable[[Backbone, int], Any]) -> None:
    change = make(tiny, 1)
    change.save(tmp_path / "a" / "b")
    loaded = load_change(tmp_path / "a" / "b")
    assert type(loaded) is type(change)
    if isinstance(change, ContextChange):
        assert isinstance(loaded, ContextChange) and loaded.text == change.text
        return
    assert loaded.deltas().keys() == change.deltas().keys()
    assert all(torch.equal(loaded.deltas()[name], delta) for name, delta in change.deltas().items())


def test_a_context_for_each_language_survives(tmp_path: Path) -> None:
    ContextChange({"en": "one “two”", "zh": "甲\n乙"}).save(tmp_path)
    loaded = load_change(tmp_path)
    assert isinstance(loaded, ContextChange) and loaded.text == {"en": "one “two”", "zh": "甲\n乙"}


def test_several_modules_of_mixed_rank_survive(tiny: Backbone, tmp_path: Path) -> None:
    layout = tiny.layout
    change = LowRankChange({**low_rank(tiny, 0, (0,), 2).factors, **low_rank(tiny, 0, (3,), 1).factors})
    change.save(tmp_path)
    loaded = load_change(tmp_path)
    assert isinstance(loaded, LowRankChange)
    assert set(loaded.factors) == {layout.down(0), layout.down(3)}
    for path, (left, right) in change.factors.items():
        assert torch.equal(loaded.factors[path][0], left) and torch.equal(loaded.factors[path][1], right)


def test_factors_that_share_their_memory_can_be_saved(llama: Backbone, tmp_path: Path) -> None:
    """The same key in two layers, or slices of one tensor."""
    left = noise(32, 2, seed=0)
    right = noise(1, 80, seed=1)
    change = LowRankChange({llama.layout.down(0): (left[:, :1], right), llama.layout.down(1): (left[:, 1:], right)})
    change.save(tmp_path)
    loaded = load_change(tmp_path)
    assert all(torch.equal(loaded.deltas()[name], delta) for name, delta in change.deltas().items())


def test_a_folder_without_a_change_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"change\.safetensors"):
        load_change(tmp_path)


@pytest.mark.parametrize("kind", [low_rank, dense])
def test_an_exported_checkpoint_predicts_as_the_applied_change_does(
    tiny: Backbone, cases: list[Case], tmp_path: Path, kind: Callable[[Backbone, int], Any]
) -> None:
    before, change = fingerprint(tiny), kind(tiny, 6)
    change.export(tiny, tmp_path / "edited")
    assert fingerprint(tiny) == before
    exported = xkeb.load_backbone("hf", path=str(tmp_path / "edited"), device="cpu")
    answers = one_by_one(tiny, [change] * 4, cases)
    assert untouched(exported, cases) == answers
    assert answers != untouched(tiny, cases)
    assert exported.sha256 != tiny.sha256
    with change.applied(tiny):
        for name, parameter in exported.model.named_parameters():
            assert torch.equal(parameter, tiny.parameter(name)), name
