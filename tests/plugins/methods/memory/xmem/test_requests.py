"""xmem's options, and what it refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from small_xmem import changes_of, fitted

import xkeb
from xkeb.editing.editor import editor_class, options_of
from xkeb.errors import RequestError
from xkeb.evaluation.probing import predict_edited
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit, Query, Sight


def test_what_it_sees() -> None:
    assert editor_class("xmem").sees == {Sight.SOURCE_EDIT, Sight.PARALLEL_TRAINING}


def test_without_fit_it_is_refused(llama: Backbone, cases: list[Case]) -> None:
    with pytest.raises(RequestError, match=r"fit\(\)"):
        xkeb.load_editor("xmem").edit(llama, [cases[0].edit])


def test_facts_in_one_language_are_refused(llama: Backbone, training: list[Case]) -> None:
    with pytest.raises(RequestError, match=r"more than one language: it needs at least 20, and 0 of 0 are") as refused:
        fitted(llama, [])
    assert "\n" not in str(refused.value)
    bare = [
        dataclasses.replace(case, edit=dataclasses.replace(case.edit, questions={}, translations={}))
        for case in training
    ]
    with pytest.raises(RequestError, match=r"19 of 60 are"):
        fitted(llama, [*training[:19], *bare[19:]])


def test_a_language_that_no_fact_is_in_is_refused(llama: Backbone, editor: Any, cases: list[Case]) -> None:
    with pytest.raises(RequestError, match="training facts in en, zh, none in 'de'"):
        editor.edit(llama, [Edit("Wer?", "Ada", "de")])
    (change,) = changes_of(editor, llama, cases[:1])
    with pytest.raises(RequestError, match="questions in en, zh, none in 'de'"):
        predict_edited(llama, change, [Query("Wer?", "Ada", "de")])
    (change,) = changes_of(fitted(llama, list(editor._shown.facts), scope="all"), llama, cases[:1])
    with pytest.raises(RequestError, match="questions in en, zh, not in 'de'"):
        predict_edited(llama, change, [Query("Wer?", "Ada", "de")])


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"facts": 0},
        {"validation": 0},
        {"demonstrations": -1},
        {"lexicon": -1},
        {"companions": -1},
        {"companions": 1, "scope": "all"},
        {"temperature": 0},
        {"unrelated": 2},
        {"others": -1},
        {"least": 1.5},
        {"threshold": 2},
        {"frame": "no-such-language"},
        {"nearest": "furthest"},
        {"scope": "some"},
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(wrong))):
        xkeb.load_editor("xmem", **wrong)


def test_a_layer_that_is_not_there_is_refused(llama: Backbone) -> None:
    with pytest.raises(RequestError, match=rf"xmem\.layer is 99; .* 0 to {llama.n_layers - 1}"):
        xkeb.load_editor("xmem", layer=99).configure(llama.spec)


def test_the_layer_is_as_deep_in_every_model(llama: Backbone) -> None:
    spec = dataclasses.replace(llama.spec, layout=dataclasses.replace(llama.layout, n_layers=18))
    assert options_of(xkeb.load_editor("xmem").configure(spec))["layer"] == 8
    assert options_of(xkeb.load_editor("xmem", layer=0).configure(spec))["layer"] == 0
