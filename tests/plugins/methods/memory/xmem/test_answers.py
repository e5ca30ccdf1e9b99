"""Who answers under xmem's changes: the untouched model, with the context of the edit that a question is about, or without."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_xmem import changes_of, fitted, found, shown_of

import xkeb
from xkeb.editing.changes import batched
from xkeb.errors import RequestError
from xkeb.evaluation.probing import case_queries, predict_after, predict_edited
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import installed_intervention
from xkeb.models.prediction import predict
from xkeb.types import Case, Edit, Prediction, Query
from xkeb_plugins.methods.memory.change import MemoryChange
from xkeb_plugins.methods.memory.facts import Question


def split(editor: Any, backbone: Backbone, edit: Edit, asked: Sequence[Query], cutoff: float) -> list[bool]:
    """Which questions are in scope, by their cosine with the edit's own."""
    questions = [Question(edit.language, edit.prompt), *(Question(query.language, query.prompt) for query in asked)]
    vectors = editor._gate.embed(backbone, questions)
    return [float(vectors[0] @ vector) >= cutoff for vector in vectors[1:]]


def alone(backbone: Backbone, query: Query, context: str) -> Prediction:
    return predict(backbone, [dataclasses.replace(query, context=context)])[0]


def test_in_scope_the_context_is_shown_and_out_of_it_nothing_changes(
    llama: Backbone, editor: Any, cases: list[Case]
) -> None:
    counts = {True: 0, False: 0}
    for case, change in zip(cases, changes_of(editor, llama, cases), strict=True):
        asked = case_queries(case, 0)
        answers = predict_edited(llama, change, asked)
        inside = split(editor, llama, case.edit, asked, 0.6)
        assert inside[0]  # the edit's own question
        for query, answer, within in zip(asked, answers, inside, strict=True):
            context = shown_of(change)[query.language] if within else ""
            assert answer == alone(llama, query, context)
            counts[within] += 1
    assert min(counts.values()) >= 4


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_row_by_row_is_one_at_a_time(
    tiny_folders: dict[str, Path], training: list[Case], cases: list[Case], dtype: str
) -> None:
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu", dtype=dtype)
    editor = fitted(backbone, training, scope="all" if dtype == "bfloat16" else "gate")  # a cosine is rounded, too
    changes = changes_of(editor, backbone, cases)
    one_by_one = [
        predict_edited(backbone, change, case_queries(case, 0)) for change, case in zip(changes, cases, strict=True)
    ]
    rows = predict_after(backbone, changes, cases)
    pairs = [(x == y) for own, other in zip(rows, one_by_one, strict=True) for x, y in zip(own, other, strict=True)]
    assert sum(pairs) / len(pairs) >= (1.0 if dtype == "float32" else 0.8)


def test_without_a_gate_every_question_is_in_scope(llama: Backbone, training: list[Case], cases: list[Case]) -> None:
    editor = fitted(llama, training, scope="all")
    assert editor._gate is None
    (change,) = changes_of(editor, llama, cases[:1])
    asked = case_queries(cases[0], 0)
    assert predict_edited(llama, change, asked) == [alone(llama, q, shown_of(change)[q.language]) for q in asked]
    with pytest.raises(RequestError, match=r"needs the gate: xmem\.scope=all"):
        MemoryChange.joined(changes_of(editor, llama, cases[:2]))


# A memory of many edits -------------------------------------------------------------------------------------------------


def test_among_many_edits_the_one_a_question_is_about_is_shown(
    llama: Backbone, training: list[Case], cases: list[Case]
) -> None:
    editor = fitted(llama, training)
    gate = editor._gate
    many = [*cases, *training[:40]]
    changes = changes_of(editor, llama, many)
    memory = MemoryChange.joined(changes)
    assert [fact.prompt for fact in memory.facts] == [case.edit.prompt for case in many]
    asked = [query for case in cases for query in case_queries(case, 0)]
    answers = predict_edited(llama, memory, asked)
    keys = gate.embed(llama, [Question(case.edit.language, case.edit.prompt) for case in many])
    places = set()
    for query, answer in zip(asked, answers, strict=True):
        (vector,) = gate.embed(llama, [Question(query.language, query.prompt)])
        # The cut-off of a memory of 64, the next size above 45.
        cutoff = gate.cutoffs.of(64, same=query.language == "en")
        best = int((keys @ vector).argmax())
        inside = float(keys[best] @ vector) >= cutoff
        context = shown_of(changes[best])[query.language] if inside else ""
        assert answer == alone(llama, query, context)
        places.add(best if inside else None)
    assert {0, 1, 2, 3, 4} <= places  # each edit's own question leads to it


def test_the_cutoff_grows_with_the_memory(llama: Backbone, training: list[Case], cases: list[Case]) -> None:
    editor = fitted(llama, training)
    cutoffs = editor._gate.cutoffs
    assert cutoffs.same[0] < cutoffs.same[6] and cutoffs.other[0] <= cutoffs.other[6]
    few = changes_of(editor, llama, cases[:1])[0]
    many = MemoryChange.joined(changes_of(editor, llama, [*cases[:1], *training]))
    asked = [Question(q.language, q.prompt) for case in cases[1:] for q in case_queries(case, 0)]

    def accepted_for_the_first(change: MemoryChange) -> int:
        places = editor._gate.find(llama, [(change, question) for question in asked])
        return sum(place is not None and change.facts[place].prompt == cases[0].edit.prompt for place in places)

    assert accepted_for_the_first(many) <= accepted_for_the_first(few)


def test_companions_are_facts_that_the_gate_did_not_learn_from(
    llama: Backbone, training: list[Case], cases: list[Case]
) -> None:
    editor = fitted(llama, training, facts=20, companions=7)
    twin = dataclasses.replace(cases[0], edit=training[22].edit)
    for case, change in zip([*cases, twin], changes_of(editor, llama, [*cases, twin]), strict=True):
        own, *others = change.facts
        assert own.prompt == case.edit.prompt and len({fact.prompt for fact in change.facts}) == 8
        assert {fact.prompt for fact in others} <= {fact.edit.prompt for fact in training[20:54]}
        assert not any(fact.translations or fact.questions for fact in others)
    (change,) = changes_of(editor, llama, cases[:1])
    for fact in change.facts:  # each is found by its own question
        question = Question(fact.language, fact.prompt)
        entry = found(editor._gate, llama, change, question)
        assert entry is not None and entry.fact == fact
    with pytest.raises(RequestError, match=r"xmem\.companions is 34, and there are 34 facts"):
        fitted(llama, training, facts=20, companions=34)


def test_edits_in_both_languages_share_a_memory(llama: Backbone, training: list[Case], cases: list[Case]) -> None:
    editor = fitted(llama, training)
    chinese = Edit(cases[0].edit.questions["zh"], "伯尔尼", "zh")
    english = cases[1].edit
    memory = MemoryChange.joined(editor.edit(llama, [chinese, english]))
    for edit in (chinese, english):
        question = Question(edit.language, edit.prompt)
        entry = found(editor._gate, llama, memory, question)
        assert entry is not None and entry.fact.prompt == edit.prompt


def test_memories_of_different_gates_are_not_joined(
    llama: Backbone, editor: Any, training: list[Case], cases: list[Case]
) -> None:
    another = fitted(llama, training, seed=1, threshold=0.6)
    changes = [*changes_of(editor, llama, cases[:1]), *changes_of(another, llama, cases[1:2])]
    with pytest.raises(RequestError, match="one gate"):
        MemoryChange.joined(changes)
    assert batched(llama, changes) is None
    again = fitted(llama, training, threshold=0.6)  # from the cache: the same gate
    assert batched(llama, [changes[0], *changes_of(again, llama, cases[:1])]) is not None


# What is left as it was -------------------------------------------------------------------------------------------------


def test_it_restores_after_an_exception_inside(llama: Backbone, editor: Any, cases: list[Case]) -> None:
    outer, asked = installed_intervention(llama), case_queries(cases[0], 0)
    untouched = predict(llama, asked)
    (change,) = changes_of(editor, llama, cases[:1])

    def fail_inside() -> None:
        with change.applied(llama):
            assert predict(llama, asked) != untouched
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert installed_intervention(llama) is outer
    assert predict(llama, asked) == untouched


def test_it_takes_no_gradients_along(llama: Backbone, editor: Any) -> None:
    assert not [name for name, p in llama.model.named_parameters() if p.requires_grad or p.grad is not None]
    assert not any(isinstance(tensor, torch.nn.Parameter) for tensor in editor._gate.tensors().values())
    assert not any(tensor.requires_grad for tensor in editor._gate.tensors().values())
