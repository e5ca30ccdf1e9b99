"""Who answers under SCR's changes, against plain code: the model with a fact that it confirmed, or the untouched one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer
from small_scr import fitted, plain_context, plain_fact, plain_odds

import xkeb
from xkeb.editing.changes import batched
from xkeb.editing.editor import make_changes
from xkeb.errors import RequestError
from xkeb.evaluation.probing import case_queries, predict_after, predict_edited
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import installed_intervention
from xkeb.models.prediction import predict
from xkeb.types import Case, Edit, Prediction, Query
from xkeb_plugins.methods.scr.confirm import Pair, log_odds


def alone(backbone: Backbone, query: Query, context: str) -> Prediction:
    return predict(backbone, [dataclasses.replace(query, context=context)])[0]


def test_the_log_odds_are_those_of_the_model_itself(tiny: Backbone, cases: list[Case]) -> None:
    asked = [(case.edit, query.prompt) for case in cases[:2] for query in case_queries(cases[0])]
    chinese = Edit("法国的首都是哪里？", "里昂", "zh")
    asked.append((chinese, "What is the capital of France?"))
    found = log_odds(tiny, "plain", [Pair(plain_fact(edit), question) for edit, question in asked])
    expected = [plain_odds(tiny, edit, question) for edit, question in asked]
    assert found == pytest.approx(expected, abs=2e-3)
    assert len(set(found)) > len(found) / 2  # they depend on what is asked


def test_the_model_is_asked_the_same_however_questions_are_put(llama: Backbone, cases: list[Case]) -> None:
    pairs = [Pair(plain_fact(cases[0].edit), query.prompt) for query in case_queries(cases[0])]
    assert log_odds(llama.asked_in("qa"), "plain", pairs) == log_odds(llama, "plain", pairs)


def expected_answer(
    backbone: Backbone, editor: Any, edits: Sequence[Edit], query: Query, encoder: SentenceTransformer
) -> tuple[Prediction, int | None]:
    """By plain code: the k nearest, the model's word on each, and the answer."""
    cutoffs = editor._gate.cutoffs
    vectors = encoder.encode([plain_fact(edit) for edit in edits], normalize_embeddings=True)
    similar = vectors @ encoder.encode(query.prompt, normalize_embeddings=True)
    nearest = sorted(range(len(edits)), key=lambda i: -similar[i])[: editor.k]
    above = {}
    for i in nearest:
        pair = cutoffs.same if edits[i].language == query.language else cutoffs.other
        above[i] = plain_odds(backbone, edits[i], query.prompt) - pair[0 if len(edits) == 1 else 1]
    best = max(above, key=lambda i: above[i])
    if abs(above[best]) < 2e-3:
        pytest.fail("too near to the cut-off to tell")
    if above[best] < 0:
        return alone(backbone, query, ""), None
    return alone(backbone, query, plain_context(edits[best])), best


def test_a_confirmed_fact_is_shown_and_else_nothing_changes(
    llama: Backbone, editor: Any, cases: list[Case], tiny_bert: Path
) -> None:
    encoder = SentenceTransformer(str(tiny_bert), device="cpu")
    changes = make_changes(editor, llama, [case.edit for case in cases])
    counts = {None: 0, 0: 0}
    for case, row in zip(cases, predict_after(llama, changes, cases), strict=True):
        for query, answer in zip(case_queries(case, 0), row, strict=True):
            expected, place = expected_answer(llama, editor, [case.edit], query, encoder)
            assert answer == expected
            counts[place] += 1
    assert min(counts.values()) >= 3


def test_among_many_edits_the_nearest_are_asked_about(
    llama: Backbone, editor: Any, training: list[Case], cases: list[Case], tiny_bert: Path
) -> None:
    encoder = SentenceTransformer(str(tiny_bert), device="cpu")
    chinese = Edit(cases[0].edit.questions["zh"], "伯尔尼", "zh")
    edits = [*(case.edit for case in cases), chinese, *(case.edit for case in training[:15])]
    memory = editor.edit_together(llama, edits)
    asked = [query for case in cases for query in case_queries(case, 0)]
    found = set()
    for query, answer in zip(asked, predict_edited(llama, memory, asked), strict=True):
        expected, place = expected_answer(llama, editor, edits, query, encoder)
        assert answer == expected
        found.add(place)
    assert len(found) > 3


def test_row_by_row_is_one_at_a_time(llama: Backbone, editor: Any, cases: list[Case]) -> None:
    changes = make_changes(editor, llama, [case.edit for case in cases])
    assert batched(llama, changes) is not None
    one_by_one = [
        predict_edited(llama, change, case_queries(case, 0)) for change, case in zip(changes, cases, strict=True)
    ]
    assert predict_after(llama, changes, cases) == one_by_one


def test_it_restores_after_an_exception_inside(llama: Backbone, cases: list[Case], tiny_bert: Path) -> None:
    editor = fitted(llama, [], tiny_bert, threshold=1e-9)  # whatever is asked
    outer, asked = installed_intervention(llama), case_queries(cases[0], 0)
    untouched = predict(llama, asked)
    (change,) = editor.edit(llama, [cases[0].edit])

    def fail_inside() -> None:
        with change.applied(llama):
            assert predict(llama, asked) == [alone(llama, query, plain_context(cases[0].edit)) for query in asked]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert installed_intervention(llama) is outer
    assert predict(llama, asked) == untouched


def test_a_threshold_is_the_probability_of_yes(llama: Backbone, cases: list[Case], tiny_bert: Path) -> None:
    edit, asked = cases[0].edit, case_queries(cases[0], 0)
    chances = [1 / (1 + 2.718281828459045 ** -plain_odds(llama, edit, query.prompt)) for query in asked]
    middle = sorted(chances)[len(chances) // 2] - 1e-6
    (change,) = fitted(llama, [], tiny_bert, threshold=middle).edit(llama, [edit])
    for query, chance, answer in zip(asked, chances, predict_edited(llama, change, asked), strict=True):
        assert answer == alone(llama, query, plain_context(edit) if chance > middle else "")
    assert min(chances) < middle < max(chances)


def test_a_memory_is_of_one_model(
    llama: Backbone, tiny_folders: dict[str, Path], editor: Any, cases: list[Case]
) -> None:
    (change,) = editor.edit(llama, [cases[0].edit])
    other = xkeb.load_backbone("hf", path=str(tiny_folders["gemma3"]), device="cpu")
    with pytest.raises(RequestError, match="made for another model than"):
        predict_edited(other, change, case_queries(cases[0], 0))
