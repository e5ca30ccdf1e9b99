"""Who answers under SERAC's changes, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_serac import fitted

import xkeb
from xkeb.editing.changes import batched
from xkeb.evaluation.probing import case_queries, predict_after, predict_edited
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import installed_intervention
from xkeb.models.prediction import predict
from xkeb.types import Case, Query
from xkeb_plugins.methods.serac.counterfactual import shown
from xkeb_plugins.methods.serac.scope import Encoder


def split(editor: Any, change: Any, asked: Sequence[Query]) -> tuple[list[int], list[int]]:
    """Which questions are in scope, by the encoder's embeddings alone, and which are not."""
    (fact,) = change.facts
    encoder: Encoder = editor._router.encoder
    vectors = encoder.embed([fact.prompt, *(query.prompt for query in asked)])
    alike = [float(torch.exp(-(vectors[fact.prompt] - vectors[query.prompt]).square().sum())) for query in asked]
    return [i for i, x in enumerate(alike) if x >= 0.5], [i for i, x in enumerate(alike) if x < 0.5]


def test_in_scope_the_counterfactual_model_answers_and_out_of_it_the_backbone(
    llama: Backbone, editor: Any, cases: list[Case]
) -> None:
    counts = [0, 0]
    for case, change in zip(cases, editor.edit(llama, [case.edit for case in cases]), strict=True):
        asked = case_queries(case, 0)
        untouched = predict(llama, asked)
        answers = predict_edited(llama, change, asked)
        inside, outside = split(editor, change, asked)
        assert 0 in inside  # the edit's own question
        context = f"{case.edit.prompt} {case.edit.target} "
        direct = predict(
            editor._router.counterfactual,
            [Query(context + asked[i].prompt, asked[i].target, asked[i].language) for i in inside],
        )
        assert [answers[i].text for i in inside] == [answer.text for answer in direct]
        assert [answers[i].ids for i in inside] == [answer.ids for answer in direct]
        assert [answers[i] for i in outside] == [untouched[i] for i in outside]
        counts[0] += len(inside)
        counts[1] += len(outside)
    assert min(counts) >= 4


@pytest.mark.parametrize(("edited", "other"), [("llama", "gpt2"), ("gpt2", "llama")])
def test_the_counterfactual_model_may_have_another_tokenizer(
    tiny_folders: Mapping[str, Path],
    training: list[Case],
    cases: list[Case],
    thorough: dict[str, Any],
    edited: str,
    other: str,
) -> None:
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders[edited]), device="cpu")
    editor = fitted(backbone, training, {**thorough, "counterfactual": str(tiny_folders[other])})
    model = editor._router.counterfactual
    assert len(model.tokenizer) != len(backbone.tokenizer)
    for case, change in zip(cases, editor.edit(backbone, [case.edit for case in cases]), strict=True):
        asked = case_queries(case, 0)
        answers = predict_edited(backbone, change, asked)
        inside, outside = split(editor, change, asked)
        for i in inside:
            (direct,) = predict(model, [Query(shown(case.edit) + asked[i].prompt, asked[i].target, asked[i].language)])
            assert answers[i].text == direct.text
            if "\ufffd" not in direct.text:  # so that scores count the edited model's tokens
                assert answers[i].tokens == backbone.encode_reference(direct.text).tokens
        assert [answers[i] for i in outside] == [predict(backbone, [asked[i]])[0] for i in outside]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_row_by_row_is_one_at_a_time(
    tiny_folders: Mapping[str, Path], training: list[Case], cases: list[Case], thorough: dict[str, Any], dtype: str
) -> None:
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu", dtype=dtype)
    editor = fitted(backbone, training, thorough)
    changes = editor.edit(backbone, [case.edit for case in cases])
    one_by_one = [
        predict_edited(backbone, change, case_queries(case, 0)) for change, case in zip(changes, cases, strict=True)
    ]
    for change, case, rows, alone in zip(
        changes, cases, predict_after(backbone, changes, cases), one_by_one, strict=True
    ):
        inside, outside = split(editor, change, case_queries(case, 0))
        assert [rows[i] for i in inside] == [alone[i] for i in inside]  # the counterfactual model's, in float32
        same = [a == b for i in outside for a, b in zip(rows[i].ids, alone[i].ids, strict=True)]
        # Below float32, the shape of a batch decides the last bits, and this model answers by a hair.
        assert sum(same) >= (1.0 if dtype == "float32" else 0.8) * len(same)
    assert editor._router.counterfactual.dtype == torch.float32
    assert editor._router.encoder.model.dtype == torch.float32


def test_changes_of_different_routers_are_applied_one_by_one(
    llama: Backbone, editor: Any, training: list[Case], cases: list[Case], options: dict[str, Any]
) -> None:
    another = fitted(llama, training, options)
    changes = [*editor.edit(llama, [cases[0].edit]), *another.edit(llama, [cases[1].edit])]
    assert batched(llama, changes) is None
    expected = [
        predict_edited(llama, change, case_queries(case, 0)) for change, case in zip(changes, cases, strict=False)
    ]
    assert predict_after(llama, changes, cases[:2]) == expected


def test_it_restores_after_an_exception_inside(llama: Backbone, editor: Any, cases: list[Case]) -> None:
    outer, asked = installed_intervention(llama), case_queries(cases[0], 0)
    untouched = predict(llama, asked)
    (change,) = editor.edit(llama, [cases[0].edit])

    def fail_inside() -> None:
        with change.applied(llama):
            assert predict(llama, asked) != untouched
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert installed_intervention(llama) is outer
    assert predict(llama, asked) == untouched


def test_it_takes_no_gradients_along(llama: Backbone, editor: Any) -> None:
    for model in (llama.model, editor._router.counterfactual.model, editor._router.encoder.model):
        assert not model.training
        assert not [name for name, p in model.named_parameters() if p.requires_grad or p.grad is not None]
