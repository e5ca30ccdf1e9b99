"""xmem over a sequence: one memory of all edits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from small_xmem import changes_of, fitted

import xkeb
from xkeb.editing.editor import why_no_sequence
from xkeb.evaluation.probing import case_queries, predict_edited
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.memory.change import MemoryChange


def test_a_session_is_a_memory_that_grows(llama: Backbone, training: list[Case], tmp_path: Path) -> None:
    editor = fitted(llama, training)
    cases = list(xkeb.load_task("bizsre_mini_en2zh"))[:4]
    session = editor.begin(llama)
    session.edit([cases[0].edit])
    session.edit([cases[1].edit, cases[2].edit])
    session.save(tmp_path)
    loaded = editor.begin(llama)
    loaded.load(tmp_path)
    expected = MemoryChange.joined(changes_of(editor, llama, cases))
    asked = [query for case in cases for query in case_queries(case)]
    for one in (session, loaded):
        memory = one.edit([cases[3].edit])
        assert isinstance(memory, MemoryChange)
        assert [entry.fact for entry in memory.entries] == [entry.fact for entry in expected.entries]
        for mine, theirs in zip(memory.entries, expected.entries, strict=True):
            assert mine.contexts == theirs.contexts and mine.vector is not None and theirs.vector is not None
            assert torch.allclose(mine.vector, theirs.vector, atol=1e-6)
        assert predict_edited(llama, memory, asked) == predict_edited(llama, expected, asked)


def test_a_memory_that_was_saved_is_joined_where_the_later_edits_are(llama: Backbone, training: list[Case]) -> None:
    """A loaded entry's vector is on the host; on a card, those of later edits aren't. Here another device stands for it."""
    editor = fitted(llama, training)
    first, second = changes_of(editor, llama, list(xkeb.load_task("bizsre_mini_en2zh"))[:2])
    (entry,) = second.entries
    assert entry.vector is not None
    elsewhere = dataclasses.replace(entry, vector=entry.vector.to("meta"))
    joined = first.followed_by(MemoryChange("xmem", [elsewhere], second.gate))
    assert joined.vectors.device.type == "meta" and joined.vectors.shape == (2, len(entry.vector))


def test_the_later_answer_to_a_question_counts(llama: Backbone, training: list[Case]) -> None:
    session = fitted(llama, training).begin(llama)
    session.edit([Edit("Who painted it?", "Ada", "en", "it"), Edit("Who is she?", "Eve", "en", "she")])
    memory = session.edit([Edit("Who painted it?", "Bob", "en", "it")])
    assert [(fact.prompt, fact.target) for fact in memory.facts] == [("Who is she?", "Eve"), ("Who painted it?", "Bob")]


def test_what_holds_one_edit_says_so() -> None:
    assert "answers every question with one edit" in str(why_no_sequence(xkeb.load_editor("xmem", scope="all"), 1))
    assert "fills each edit's memory" in str(why_no_sequence(xkeb.load_editor("xmem", companions=3), 1))
    assert why_no_sequence(xkeb.load_editor("xmem"), 8) is None
