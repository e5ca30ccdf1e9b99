"""SERAC over a sequence: one memory of all edits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from xkeb.editing.editor import why_no_sequence
from xkeb.evaluation.probing import case_queries, predict_edited
from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.serac.change import MemoryChange


def test_a_session_is_a_memory_that_grows(llama: Backbone, editor: Any, cases: list[Case], tmp_path: Path) -> None:
    session = editor.begin(llama)
    session.edit([cases[0].edit])
    session.save(tmp_path)
    loaded = editor.begin(llama)
    loaded.load(tmp_path)
    whole = MemoryChange([case.edit for case in cases], editor._router)
    asked = [query for case in cases for query in case_queries(case)]
    expected = predict_edited(llama, whole, asked)
    for one in (session, loaded):
        memory = one.edit([case.edit for case in cases[1:]])
        assert memory.facts == whole.facts
        assert predict_edited(llama, memory, asked) == expected
    again = session.edit([dataclasses.replace(cases[0].edit, target="Bob")])
    assert [fact.target for fact in again.facts] == [*(case.edit.target for case in cases[1:]), "Bob"]
    assert why_no_sequence(editor, 8) is None
