"""Of an edit, a method that answers in other languages looks at its own language alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from short_options import short_options

import xkeb
from xkeb.editing.editor import load_editor, make_changes, prepare
from xkeb.evaluation.probing import predict_after
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Prediction

pytestmark = pytest.mark.usefixtures("cache_of_this_module")
BLIND = {"remake": {}, "xmem": {"threshold": 0.0}, "scr": {}}
"""With options that let questions in another language through."""


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh"))[:5]


@pytest.fixture(scope="module")
def scrambled(cases: list[Case]) -> list[Case]:
    """The same edits, with nonsense wherever a record has the other language."""
    edits = [
        dataclasses.replace(
            case.edit,
            translations={**case.edit.translations, "zh": "胡说八道"},
            questions={**case.edit.questions, "zh": "这是什么？"},
            aliases=("某人",),
        )
        for case in cases
    ]
    assert all(case.edit != edit for case, edit in zip(cases, edits, strict=True))
    return [dataclasses.replace(case, edit=edit) for case, edit in zip(cases, edits, strict=True)]


def fitted(method: str, backbone: Backbone, folders: dict[str, Path], encoder: Path) -> Any:
    facts = list(xkeb.load_task("bizsre_mini_en2zh").parallel_training.cases)[:60]
    options = {**short_options(method, encoder, folders["gpt2"]), **BLIND.get(method, {})}
    return prepare(load_editor(method, **options), backbone, facts)


def answers(editor: Any, backbone: Backbone, edited: list[Case], asked: list[Case]) -> list[list[Prediction]]:
    return predict_after(backbone, make_changes(editor, backbone, [case.edit for case in edited]), asked)


@pytest.mark.parametrize("method", BLIND)
def test_nothing_of_the_edit_in_another_language_is_looked_at(
    method: str,
    llama: Backbone,
    tiny_folders: dict[str, Path],
    tiny_bert: Path,
    cases: list[Case],
    scrambled: list[Case],
) -> None:
    editor = fitted(method, llama, tiny_folders, tiny_bert)
    honest = answers(editor, llama, cases, cases)
    assert answers(editor, llama, scrambled, cases) == honest
    # Even where it is handed what it doesn't ask for, and with a file that is written of it.
    handed = editor.edit(llama, [case.edit for case in scrambled])
    assert predict_after(llama, handed, cases) == honest
    for change in handed:
        assert all(not (fact.translations or fact.questions or fact.aliases) for fact in change.facts)
    # And the edits were at work in the other language.
    untouched = predict_after(llama, [xkeb.ContextChange("")] * len(cases), cases)
    chinese = [
        (own, other)
        for case, row, before in zip(cases, honest, untouched, strict=True)
        for probe, own, other in zip(case.probes, row, before, strict=True)
        if probe.language == "zh"
    ]
    assert any(own != other for own, other in chinese)


def test_a_method_that_looks_is_caught(
    llama: Backbone, tiny_folders: dict[str, Path], tiny_bert: Path, cases: list[Case], scrambled: list[Case]
) -> None:
    editor = load_editor("ike-published", k=0)
    assert answers(editor, llama, scrambled, cases) != answers(editor, llama, cases, cases)
