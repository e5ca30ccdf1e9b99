"""SCR's options, what it refuses, and what is kept of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_scr import fitted

import xkeb
from xkeb.editing.changes import batched, load_change
from xkeb.editing.editor import editor_class, make_changes, why_no_sequence
from xkeb.errors import RequestError
from xkeb.evaluation.probing import case_queries, predict_after, predict_edited
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit, Sight
from xkeb_plugins.methods.memory.change import MemoryChange
from xkeb_plugins.methods.scr.cutoff import CutOffs, calibrated


def test_what_it_sees() -> None:
    assert editor_class("scr").sees == {Sight.SOURCE_EDIT, Sight.PARALLEL_TRAINING}


def test_without_a_cutoff_it_is_refused(llama: Backbone, cases: list[Case], tiny_bert: Path) -> None:
    with pytest.raises(RequestError, match=r"fit\(\) first, or set a threshold"):
        xkeb.load_editor("scr", encoder=str(tiny_bert)).edit(llama, [cases[0].edit])
    with pytest.raises(RequestError, match="at least 2, not 1"):
        fitted(llama, cases[:1], tiny_bert)
    assert not xkeb.load_editor("scr", threshold=0.5).needs_training()


@pytest.mark.parametrize("wrong", [{"k": 0}, {"threshold": 1}, {"threshold": 0}, {"validation": 1}])
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(wrong))):
        xkeb.load_editor("scr", **wrong)


def test_what_is_saved_is_loaded_without_the_cache(
    llama: Backbone, editor: Any, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = make_changes(editor, llama, [case.edit for case in cases])
    answers = predict_after(llama, changes, cases)
    for i, change in enumerate(changes):
        change.save(tmp_path / str(i))  # type: ignore[attr-defined]
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "empty"))
    loaded: list[Any] = [load_change(tmp_path / str(i)) for i in range(len(changes))]
    assert all(isinstance(change, MemoryChange) for change in loaded)
    assert batched(llama, [*loaded, *changes]) is not None
    assert predict_after(llama, loaded, cases) == answers
    assert not (tmp_path / "empty").exists()


def test_a_session_is_a_memory_that_grows(
    llama: Backbone, editor: Any, training: list[Case], cases: list[Case], tmp_path: Path
) -> None:
    session = editor.begin(llama)
    session.edit([case.edit for case in cases[:2]])
    session.edit([case.edit for case in training[:4]])
    session.save(tmp_path)
    loaded = editor.begin(llama)
    loaded.load(tmp_path)
    again = Edit(cases[0].edit.prompt, "Bob", "en", cases[0].edit.subject)  # the later answer counts
    edits = [cases[1].edit, *(case.edit for case in training[:4]), again]
    expected = editor.edit_together(llama, edits)
    asked = [query for case in cases for query in case_queries(case)]
    for one in (session, loaded):
        memory = one.edit([again])
        assert [(fact.prompt, fact.target) for fact in memory.facts] == [(edit.prompt, edit.target) for edit in edits]
        assert predict_edited(llama, memory, asked) == predict_edited(llama, expected, asked)
    assert why_no_sequence(editor, 8) is None


def test_the_cutoffs_are_chosen_once(
    llama: Backbone, training: list[Case], tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, fresh_cache: Path
) -> None:
    calls: list[int] = []

    def counting(*given: Any) -> CutOffs:
        calls.append(1)
        return calibrated(*given)

    monkeypatch.setattr("xkeb_plugins.methods.scr.editor.calibrated", counting)
    first = fitted(llama, training, tiny_bert)._gate
    assert fitted(llama, training, tiny_bert)._gate.sha256 == first.sha256 and len(calls) == 1
    for other in ({"k": 2}, {"seed": 1}, {"validation": 11}):
        fitted(llama, training, tiny_bert, **other)
    assert len(calls) == 4
    assert len(list((fresh_cache / "scr").glob("*.safetensors"))) == 4
