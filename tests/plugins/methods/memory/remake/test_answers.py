"""What remake shows before which question, against plain code."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer
from small_remake import fitted

import xkeb
from xkeb.editing.changes import batched, load_change
from xkeb.editing.editor import editor_class, make_changes, why_no_sequence
from xkeb.errors import RequestError
from xkeb.evaluation.probing import case_queries, predict_after, predict_edited
from xkeb.models.backbone import Backbone
from xkeb.models.prediction import predict
from xkeb.types import Case, Edit, Query, Sight
from xkeb_plugins.methods.memory.facts import Question

CHINESE = Edit("挪威的首都是哪座城市？", "伯尔尼", "zh", "挪威")


def plain_context(training: Sequence[Case], edit: Edit, asked: str, encoder: SentenceTransformer, n: int = 2) -> str:
    """The n facts whose question is most similar, the nearest first, in both languages, and the edit."""

    def line(question: str, answer: str, language: str) -> str:
        return "Question: " + question + ("" if language == "zh" else " ") + answer + "\n"

    texts = [case.edit.questions[edit.language] for case in training]
    vectors = encoder.encode(texts, normalize_embeddings=True)
    similar = vectors @ encoder.encode(edit.prompt, normalize_embeddings=True)
    text, seen = "", {edit.prompt}
    for i in sorted(range(len(texts)), key=lambda i: -similar[i]):
        if texts[i] not in seen and len(seen) <= n:
            seen.add(texts[i])
            for code in (edit.language, asked):
                text += line(training[i].edit.questions[code], training[i].edit.translations[code], code)
            text += "\n"
    return text + line(edit.prompt, edit.target, edit.language) + "Question: "


def plain_place(editor: Any, backbone: Backbone, edits: Sequence[Edit], query: Query) -> int | None:
    """The edit that is classified as asking the same with the highest probability, one pair at a time."""
    gate = editor._gate
    chances = []
    for edit in edits:
        one, other = gate.embed(
            backbone, [Question(edit.language, edit.prompt), Question(query.language, query.prompt)]
        ).tolist()
        total = float(gate.head.bias)
        for u, v, a, b in zip(gate.head.products.tolist(), gate.head.differences.tolist(), one, other, strict=True):
            total += u * a * b - v * (a - b) ** 2
        chances.append(1 / (1 + math.exp(-16 * total)))
    best = max(range(len(edits)), key=lambda i: chances[i])
    return best if chances[best] >= editor.threshold else None


def test_a_context_has_the_nearest_facts_in_both_languages_and_then_the_edit(
    llama: Backbone, editor: Any, training: list[Case], cases: list[Case], tiny_bert: Path
) -> None:
    encoder = SentenceTransformer(str(tiny_bert), device="cpu")
    own = dataclasses.replace(training[3].edit, translations={}, questions={}, aliases=())  # asks what a fact asks
    edits = [*(case.edit for case in cases), CHINESE, own]
    for edit, change in zip(edits, editor.edit(llama, edits), strict=True):
        (entry,) = change.entries
        assert entry.contexts == {code: plain_context(training, edit, code, encoder) for code in ("en", "zh")}


def test_no_facts_leave_the_edit_alone(llama: Backbone, training: list[Case], tiny_bert: Path) -> None:
    ((entry,),) = (
        change.entries for change in fitted(llama, training, tiny_bert, demonstrations=0).edit(llama, [CHINESE])
    )
    assert entry.contexts == dict.fromkeys(("en", "zh"), "Question: 挪威的首都是哪座城市？伯尔尼\nQuestion: ")


def test_in_scope_the_context_is_shown_and_out_of_it_nothing_changes(
    llama: Backbone, training: list[Case], editor: Any, cases: list[Case], tiny_bert: Path
) -> None:
    edits = [*(case.edit for case in cases), CHINESE, *(case.edit for case in training[:30])]
    memory = editor.edit_together(llama, edits)
    single = make_changes(editor, llama, [case.edit for case in cases])
    asked = [query for case in cases for query in case_queries(case, 0)]
    shown = {True: 0, False: 0}
    for query, answer in zip(asked, predict_edited(llama, memory, asked), strict=True):
        place = plain_place(editor, llama, edits, query)
        text = "" if place is None else memory.entries[place].context(query.language)
        assert answer == predict(llama, [dataclasses.replace(query, context=text)])[0]
    for case, change, row in zip(cases, single, predict_after(llama, single, cases), strict=True):
        for query, answer in zip(case_queries(case, 0), row, strict=True):
            inside = plain_place(editor, llama, [case.edit], query) is not None
            text = change.entries[0].context(query.language) if inside else ""  # type: ignore[attr-defined]
            assert answer == predict(llama, [dataclasses.replace(query, context=text)])[0]
            shown[inside] += 1
    assert min(shown.values()) >= 3


def test_what_is_saved_is_loaded_without_the_cache(
    llama: Backbone, editor: Any, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = make_changes(editor, llama, [case.edit for case in cases])
    answers = predict_after(llama, changes, cases)
    for i, change in enumerate(changes):
        change.save(tmp_path / str(i))  # type: ignore[attr-defined]
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "empty"))
    loaded: list[Any] = [load_change(tmp_path / str(i)) for i in range(len(changes))]
    assert batched(llama, [*loaded, *changes]) is not None
    assert predict_after(llama, loaded, cases) == answers
    assert [
        predict_edited(llama, change, case_queries(case, 0)) for change, case in zip(loaded, cases, strict=True)
    ] == answers
    assert not (tmp_path / "empty").exists()


def test_a_session_is_a_memory_that_grows(llama: Backbone, editor: Any, cases: list[Case]) -> None:
    session = editor.begin(llama)
    session.edit([cases[0].edit])
    again = Edit(cases[0].edit.prompt, "Bob", "en", cases[0].edit.subject)  # the later answer counts
    memory = session.edit([cases[1].edit, again])
    assert [(fact.prompt, fact.target) for fact in memory.facts] == [
        (cases[1].edit.prompt, cases[1].edit.target),
        (again.prompt, "Bob"),
    ]
    assert why_no_sequence(editor, 8) is None


# Requests ---------------------------------------------------------------------------------------------------------------


def test_what_it_sees() -> None:
    assert editor_class("remake").sees == {Sight.SOURCE_EDIT, Sight.PARALLEL_TRAINING}


def test_what_it_can_t_do_is_refused(llama: Backbone, editor: Any, cases: list[Case], tiny_bert: Path) -> None:
    with pytest.raises(RequestError, match=r"remake answers .* fit\(\)"):
        xkeb.load_editor("remake").edit(llama, [cases[0].edit])
    with pytest.raises(RequestError, match=r"remake learns from training facts .* more than one language"):
        fitted(llama, [], tiny_bert)
    with pytest.raises(RequestError, match="training facts in en, zh, none in 'de'"):
        editor.edit(llama, [Edit("Wer?", "Ada", "de")])
    with pytest.raises(RequestError, match=r"remake\.layer is 99"):
        xkeb.load_editor("remake", layer=99).configure(llama.spec)


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"facts": 0}, {"validation": 0}, {"demonstrations": -1}, {"threshold": 1}, {"threshold": 0}]
)
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(wrong))):
        xkeb.load_editor("remake", **wrong)
