"""What an edit does to a model, as data: applied alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from some_changes import context, dense, fingerprint, hooks, ids, low_rank, noise, one_by_one, untouched

import xkeb
from xkeb.editing.changes import ContextChange, DenseChange, LowRankChange
from xkeb.errors import PluginError, RequestError
from xkeb.evaluation.probing import case_queries
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import installed_intervention
from xkeb.models.prediction import predict
from xkeb.types import Case


def answers(backbone: Backbone, cases: list[Case]) -> list[list[tuple[int, ...]]]:
    """Under whatever is at work."""
    return ids([predict(backbone, case_queries(case, 0)) for case in cases])


def test_it_restores_every_parameter_to_the_bit(
    tiny: Backbone, cases: list[Case], make: Callable[[Backbone, int], Any]
) -> None:
    before, plain = fingerprint(tiny), untouched(tiny, cases)
    change = make(tiny, 3)
    with change.applied(tiny):
        changed = answers(tiny, cases)
    assert changed != plain
    assert fingerprint(tiny) == before
    assert untouched(tiny, cases) == plain


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
    assert tiny.intervention is None
    assert not hooks(tiny)


def test_it_restores_after_an_exception_while_it_is_applied(tiny: Backbone) -> None:
    layout, before = tiny.layout, fingerprint(tiny)
    good, bad = low_rank(tiny, 0).deltas(), noise(layout.hidden_size + 1, layout.intermediate_size, seed=0)
    wrong_dense = DenseChange({**good, f"{layout.down(2)}.weight": bad})
    wrong_rank = LowRankChange({**low_rank(tiny, 0).factors, layout.down(2): (bad[:, :1], bad[:1])})
    unknown = DenseChange({**good, "no.such.weight": bad})
    for change in (wrong_dense, wrong_rank, unknown):
        with pytest.raises((RuntimeError, PluginError)), change.applied(tiny):
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


def shown(backbone: Backbone, language: str) -> str:
    """What stands before every prompt in a language."""
    intervention = installed_intervention(backbone)
    return "" if intervention is None else intervention.context(0, language)


def test_contexts_one_inside_another_are_undone_in_turn(llama: Backbone) -> None:
    with ContextChange("a").applied(llama):
        with ContextChange({"en": "b"}).applied(llama):
            assert shown(llama, "en") == "b"
            with pytest.raises(RequestError, match="none for 'zh'"):
                shown(llama, "zh")
        assert shown(llama, "zh") == "a"
    assert llama.intervention is None


def test_a_context_inside_another_answers_instead_of_it(tiny: Backbone, cases: list[Case]) -> None:
    outer, inner = ContextChange("A word before. " * 3), ContextChange("今天天气很好，我们去公园。")
    of_outer, of_inner = (one_by_one(tiny, [change] * len(cases), cases) for change in (outer, inner))
    assert of_outer != of_inner
    with outer.applied(tiny):
        assert one_by_one(tiny, [inner] * len(cases), cases) == of_inner
        assert answers(tiny, cases) == of_outer
    assert answers(tiny, cases) == untouched(tiny, cases)


def test_a_weight_change_around_a_context_stays_at_work(tiny: Backbone, cases: list[Case]) -> None:
    weights, text = low_rank(tiny, 5), ContextChange("A word before. " * 3)
    plain = one_by_one(tiny, [text] * len(cases), cases)
    with weights.applied(tiny):
        edited, both = answers(tiny, cases), one_by_one(tiny, [text] * len(cases), cases)
    with text.applied(tiny), weights.applied(tiny):
        assert answers(tiny, cases) == both
    assert both not in (plain, edited)


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
