"""xmemit: what the model makes of an edit in another language, and that MEMIT writes it beside the edit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import regex
import torch

import xkeb
from xkeb.editing.editor import load_editor, make_changes, prepare
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.memit import Memit
from xkeb_plugins.methods.xmemit.editor import CrossLingualMemit, GivenMemit
from xkeb_plugins.methods.xmemit.translation import Recipe, Translator, keeps_a_name

pytestmark = pytest.mark.usefixtures("cache_of_this_module")
SHORT: dict[str, Any] = {"steps": 3, "context_templates": ("In short. ",)}
TRANSLATED_BRIEFLY = {**SHORT, "translated_tokens": 8}
EDIT = Edit(
    "Who is the father of Erik Lindbergh?", "Jon", "en", "Erik Lindbergh",
    translations={"en": "Jon", "zh": "乔恩"},
    questions={"en": "Who is the father of Erik Lindbergh?", "zh": "埃里克·林德伯格的父亲是谁？"},
    aliases=("埃里克·林德伯格",),
)  # fmt: skip


def fact(name: str, question: tuple[str, str], answer: tuple[str, str], subject: str) -> Case:
    answers, questions = (dict(zip(("en", "zh"), texts, strict=True)) for texts in (answer, question))
    return Case(name, Edit(question[0], answer[0], "en", subject, answers, questions), ())


KEPT = fact("kept", ("Who is the mother of Ann Lee?", "Ann Lee的母亲是谁？"), ("Jo", "乔"), "Ann Lee")
KEPT_TOO = fact("too", ("Where is Bonn Hall?", "Bonn Hall在哪里？"), ("Kiel", "基尔"), "Bonn Hall")
TRANSLATED = fact("other", ("Who is the father of Erik?", "埃里克的父亲是谁？"), ("Jon", "乔恩"), "Erik")

COUNTRIES = [
    fact(name, (f"What country is {name} from?", f"{name}来自哪个国家？"), answers, name)
    for name, answers in (("Ann Lee", ("Chile", "智利")), ("Bo Dahl", ("Oman", "阿曼")), ("Cy Orr", ("Iran", "伊朗")))
]
REPEATED = [
    fact(case.id, (case.edit.prompt, case.edit.prompt), (case.edit.target, case.edit.target), case.edit.subject)
    for case in COUNTRIES
]


@pytest.fixture(scope="module")
def facts() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh").parallel_training.cases)


def factors(change: Any) -> list[torch.Tensor]:
    return [side for path in sorted(change.factors) for side in change.factors[path]]


def test_a_name_is_kept_where_both_questions_share_a_word() -> None:
    assert [keeps_a_name(case, "en", "zh") for case in (KEPT, KEPT_TOO, TRANSLATED)] == [True, True, False]
    assert not keeps_a_name(KEPT, "en", "de")


def test_what_stands_before_a_translation() -> None:
    translator = Translator([TRANSLATED, KEPT, KEPT_TOO], Recipe(questions=2, answers=1, tokens=8))
    assert translator.before_question(EDIT, "zh") == (
        "Where is Bonn Hall?\nBonn Hall在哪里？\n\n"
        "Who is the mother of Ann Lee?\nAnn Lee的母亲是谁？\n\n"
        "Who is the father of Erik Lindbergh?\n"
    )
    assert translator.lexicon.look_up(EDIT.target, "en", "zh") == "乔恩"
    assert translator.lexicon.before("John", "en", "zh") == "Jon\n乔恩\n\nJohn\n"


def test_the_embedded_model_translates(gemma: Backbone, facts: list[Case]) -> None:
    """A question with its subject kept, and an answer in Chinese. An edit without a subject can't be placed; one whose question
    comes back as it was isn't translated."""
    edits = [
        Edit("What country is Shmavon Shmavonyan from?", "Yemen", "en", "Shmavon Shmavonyan"),
        Edit("What country is Shmavon Shmavonyan from?", "Yemen", "en"),
    ]
    (translated, none) = Translator([*facts, *COUNTRIES], Recipe(4, 4, 32)).translate(gemma, edits)
    (edit,) = translated
    assert none == []
    assert edit.language == "zh" and edit.subject == "Shmavon Shmavonyan"
    assert edit.subject in edit.prompt and edit.prompt.endswith("？") and "\n" not in edit.prompt + edit.target
    assert regex.fullmatch(r"\p{Han}+", edit.target)
    assert Translator(REPEATED, Recipe(4, 4, 32)).translate(gemma, edits[:1]) == [[]]


def test_second_moments_are_of_each_language_in_turn(facts: list[Case]) -> None:
    texts = CrossLingualMemit(mom2_samples=40).task_texts(facts)
    chinese = {case.edit.questions["zh"] for case in facts}
    assert len(texts) == 40 and [text in chinese for text in texts] == [False, True] * 20
    assert texts[:2] == [facts[0].edit.prompt, facts[0].edit.questions["zh"]]
    asked = {probe.prompt for case in facts for probe in case.probes if probe.language == "zh"}
    assert asked and not asked.intersection(texts).difference(chinese), "of the other language, the questions alone"
    every = {case.edit.prompt for case in facts} | {
        probe.prompt for case in facts for probe in case.probes if probe.language == "en"
    }
    assert set(CrossLingualMemit(mom2_samples=10_000).task_texts(facts)) == every | chinese


def test_it_writes_what_memit_writes_of_both_facts_together(llama: Backbone, facts: list[Case], tmp_path: Path) -> None:
    case = next(iter(xkeb.load_task("bizsre_mini_en2zh")))
    ours = prepare(load_editor("xmemit-given", **SHORT), llama, facts)
    assert isinstance(ours, GivenMemit)
    (group,) = ours.in_every_language(llama, [case.edit])
    assert [edit.language for edit in group] == ["en", "zh"]
    assert (group[1].prompt, group[1].target) == (case.edit.questions["zh"], case.edit.translations["zh"])
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(ours.task_texts(facts)), encoding="utf-8")
    options = {**SHORT, "mom2_corpus": str(corpus), "layers": ours.configure(llama.spec).layers}
    memit = prepare(load_editor("memit", **options), llama, facts)
    assert isinstance(memit, Memit)
    expected = factors(memit.edit_together(llama, group))
    (change,) = make_changes(ours, llama, [case.edit])
    found = factors(change)
    assert found[0].shape[1] == 2  # a column for each language
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(found, expected, strict=True))


def test_several_edits_make_changes_of_their_own_or_one_together(llama: Backbone, facts: list[Case]) -> None:
    edits = [case.edit for case in list(xkeb.load_task("bizsre_mini_en2zh"))[:3]]
    editor = prepare(load_editor("xmemit-given", **SHORT), llama, facts)
    assert isinstance(editor, GivenMemit)
    alone = [make_changes(editor, llama, [edit])[0] for edit in edits]
    for one, among in zip(alone, make_changes(editor, llama, edits), strict=True):
        assert all(
            torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(factors(one), factors(among), strict=True)
        )
    together = editor.edit_together(llama, edits)
    assert factors(together)[0].shape[1] == sum(factors(one)[0].shape[1] for one in alone)


def test_the_languages_changes_can_be_summed(llama: Backbone, facts: list[Case], tmp_path: Path) -> None:
    """Each language's change is MEMIT's of that language alone, with the second moments of all of them."""
    edits = [case.edit for case in list(xkeb.load_task("bizsre_mini_en2zh"))[:2]]
    ours = prepare(load_editor("xmemit-given", merge="sum", **SHORT), llama, facts)
    assert isinstance(ours, GivenMemit)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(ours.task_texts(facts)), encoding="utf-8")
    options = {**SHORT, "mom2_corpus": str(corpus), "layers": ours.configure(llama.spec).layers}
    memit = prepare(load_editor("memit", **options), llama, facts)
    assert isinstance(memit, Memit)
    written = [edit for group in ours.in_every_language(llama, edits) for edit in group]
    apart = [memit.edit_together(llama, [one for one in written if one.language == code]) for code in ("en", "zh")]
    change = ours.edit_together(llama, edits)
    for path, delta in change.deltas().items():
        expected = sum((one.deltas()[path] for one in apart), torch.zeros_like(delta))
        assert torch.allclose(delta, expected, rtol=1e-3, atol=1e-6 * float(expected.abs().max()))
    together = prepare(load_editor("xmemit-given", **SHORT), llama, facts)
    assert isinstance(together, GivenMemit)
    other = together.edit_together(llama, edits).deltas()
    assert any(not torch.allclose(delta, other[path], rtol=1e-3) for path, delta in change.deltas().items())


def test_a_subject_that_is_not_found_leaves_the_language_out(llama: Backbone, facts: list[Case]) -> None:
    editor = prepare(load_editor("xmemit-given", **SHORT), llama, facts)
    assert isinstance(editor, GivenMemit)
    unknown = dataclasses.replace(EDIT, aliases=())
    found, lost = editor.in_every_language(llama, [EDIT, unknown])
    assert [edit.subject for edit in found] == ["Erik Lindbergh", "埃里克·林德伯格"] and lost == [unknown]


def test_it_sees_nothing_of_the_edit_in_another_language(llama: Backbone, facts: list[Case]) -> None:
    editor = prepare(load_editor("xmemit", **TRANSLATED_BRIEFLY), llama, facts)
    scrambled = dataclasses.replace(EDIT, translations={"zh": "胡说"}, questions={"zh": "什么？"}, aliases=("某人",))
    (first,), (second,) = make_changes(editor, llama, [EDIT]), make_changes(editor, llama, [scrambled])
    assert all(torch.equal(a, b) for a, b in zip(factors(first), factors(second), strict=True))


def test_what_is_wrong_is_said(llama: Backbone, facts: list[Case]) -> None:
    with pytest.raises(RequestError, match="xmemit shows training facts: call fit"):
        load_editor("xmemit").edit(llama, [EDIT])
    with pytest.raises(RequestError, match="at least 20, and 10 of 10 are"):
        prepare(load_editor("xmemit", **TRANSLATED_BRIEFLY), llama, facts[:10])
    with pytest.raises(RequestError, match="shown_answers must be at least 1, not 0"):
        load_editor("xmemit", shown_answers=0)
