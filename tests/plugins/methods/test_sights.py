"""What editors are handed: what they declare in `sees`, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

import xkeb
from xkeb.editing.changes import Change, ContextChange
from xkeb.editing.editor import Editor, editor_class, make_changes, prepare, supported_cases, why_unsupported
from xkeb.errors import PluginError
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.types import Case, Edit, Probe, Sight

EDIT = Edit(
    "Which city is the capital of Japan?",
    "Sapporo",
    "en",
    "Japan",
    translations={"en": "Sapporo", "zh": "札幌"},
    questions={"en": "Which city is the capital of Japan?", "zh": "日本的首都是哪座城市？"},
    aliases=("日本",),
)
BARE = Edit(EDIT.prompt, EDIT.target, EDIT.language, EDIT.subject)
FACT = Case("fact", EDIT, (Probe("generality", "en", "Where does Japan's government sit?", "Sapporo"),))
SHOWN = {
    Sight.TARGET_ANSWER: {"translations": EDIT.translations},
    Sight.TARGET_QUESTION: {"questions": EDIT.questions},
    Sight.SUBJECT_ALIASES: {"aliases": EDIT.aliases},
}
"""What each sight adds to the edit."""


class Watcher(Editor):
    """Keeps whatever it is handed."""

    learning = False

    def __init__(self) -> None:
        self.edits: list[Edit] = []
        self.asked: list[Edit] = []
        self.facts: list[Case] | None = None

    def needs_training(self) -> bool:
        return self.learning

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        self.facts = list(cases)

    def unsupported(self, backbone: Backbone, edit: Edit) -> str | None:
        self.asked.append(edit)
        return None

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> Sequence[Change]:
        self.edits += edits
        return [ContextChange(edit.prompt) for edit in edits]


def watcher(*sees: Sight, learning: bool = False) -> Watcher:
    names: dict[str, Any] = {"sees": frozenset(sees), "learning": learning}
    return type("Watcher", (Watcher,), names)()


# Edits ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sight", SHOWN)
def test_each_sight_of_an_edit_adds_its_own_part(llama: Backbone, sight: Sight) -> None:
    editor = watcher(Sight.SOURCE_EDIT, sight)
    make_changes(editor, llama, [EDIT])
    assert editor.edits == [dataclasses.replace(BARE, **SHOWN[sight])]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sees",
    [
        {Sight.SOURCE_EDIT},
        {Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING},
        {Sight.SOURCE_EDIT, Sight.PARALLEL_TRAINING, Sight.EXTERNAL_TRANSLATION},
    ],
)
def test_without_them_the_edit_is_bare(llama: Backbone, sees: set[Sight]) -> None:
    editor = watcher(*sees)
    make_changes(editor, llama, [EDIT])
    why_unsupported(editor, llama, EDIT)
    supported_cases(editor, llama, [FACT])
    assert editor.edits == [BARE] and editor.asked == [BARE, BARE]


def test_who_declares_nothing_sees_the_edit_alone(llama: Backbone) -> None:
    class OnlyEdit(Watcher):
        pass

    editor = OnlyEdit()
    make_changes(editor, llama, [EDIT])
    assert OnlyEdit.sees == {Sight.SOURCE_EDIT} and editor.edits == [BARE]


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ([ContextChange("")] * 3, "3 changes for 1 edit"),
        (ContextChange(""), "something of type ContextChange"),
        (None, "something of type NoneType"),
        ("changes", "something of type str"),
        ([{}], r"a list that holds something of type dict, which has no applied\(backbone\)"),
    ],
    ids=["too many", "no list", "nothing", "a text", "no change"],
)
def test_who_returns_something_else_than_a_change_for_each_edit_is_refused(
    llama: Backbone, returned: Any, told: str
) -> None:
    class Mistaken(Watcher):
        def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> Any:
            return returned

    sentence = rf"^Mistaken\.edit returned {told}; a list with a change for each edit was expected\.$"
    with pytest.raises(PluginError, match=sentence):
        make_changes(Mistaken(), llama, [EDIT])
    with pytest.raises(PluginError, match=sentence):
        Mistaken().edit_after(llama, [EDIT], {})


class NoEdit:
    pass


class OneArgument:
    def edit(self, edits: Sequence[Edit]) -> Any: ...


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (NoEdit, r"Method 'mine' is registered as NoEdit, which has no edit\(backbone, edits\)\."),
        (
            OneArgument,
            r"OneArgument\.edit of method 'mine' can't be called with \(backbone, edits\): too many positional arguments\.",
        ),
    ],
)
def test_a_class_that_can_t_edit_is_refused_before_anything_is_loaded(
    method: type[Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(get_plugins().methods.entries, "mine", Entry(method, "tests"))
    with pytest.raises(PluginError, match=f"^{told}$"):
        xkeb.load_editor("mine")


# Training facts ---------------------------------------------------------------------------------------------------------


def test_training_facts_are_of_the_source_language_alone(llama: Backbone) -> None:
    editor = watcher(Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING, Sight.TARGET_ANSWER, learning=True)
    prepare(editor, llama, [FACT])
    assert editor.facts == [Case("fact", BARE, FACT.probes)]


def test_what_is_asked_in_another_language_is_no_part_of_them(llama: Backbone) -> None:
    """Neither seen nor taken for a probe that a method requires."""
    foreign = tuple(dataclasses.replace(probe, language="zh") for probe in FACT.probes)
    parallel = dataclasses.replace(FACT, probes=(*FACT.probes, *foreign))
    editor = watcher(Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING, learning=True)
    type(editor).requires = frozenset({FACT.probes[0].property})
    prepare(editor, llama, [parallel, dataclasses.replace(FACT, probes=foreign)])
    assert editor.facts == [Case("fact", BARE, FACT.probes)]


def test_parallel_training_has_questions_and_translations(llama: Backbone) -> None:
    editor = watcher(Sight.SOURCE_EDIT, Sight.PARALLEL_TRAINING, learning=True)
    prepare(editor, llama, [FACT])
    assert editor.facts is not None
    (fact,) = editor.facts
    assert (fact.edit.questions, fact.edit.translations) == (EDIT.questions, EDIT.translations)
    make_changes(editor, llama, [EDIT])
    assert editor.edits == [BARE]  # which says nothing of the edits themselves


def test_parallel_training_of_a_task_has_both_languages() -> None:
    for fact in list(xkeb.load_task("bizsre_mini_en2zh").parallel_training.cases)[:5]:
        assert fact.edit.questions.keys() == fact.edit.translations.keys() == {"en", "zh"}
        assert fact.edit.questions["en"] == fact.edit.prompt and fact.edit.translations["en"] == fact.edit.target


def test_parallel_training_of_a_task_has_what_each_file_asks() -> None:
    """That of the edit's own language first: a rephrase that only one of the files has is there in both directions."""
    here, there = (xkeb.load_task(name) for name in ("bizsre_mini_en2zh", "bizsre_mini_zh2en"))
    own = {case.id: case.probes for case in here.training.cases}
    other = {case.id: case.probes for case in there.training.cases}
    assert all(own.values()) and all(other.values())
    for fact in here.parallel_training.cases:
        assert fact.probes == (*own[fact.id], *other[fact.id])
    for fact in there.parallel_training.cases:
        assert fact.probes == (*other[fact.id], *own[fact.id])


def test_facts_without_the_probes_that_it_requires_are_kept_from_it(llama: Backbone) -> None:
    editor = watcher(Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING, learning=True)
    type(editor).requires = frozenset({"generality"})
    prepare(editor, llama, [Case("bare", EDIT, ()), FACT])
    assert editor.facts == [Case("fact", BARE, FACT.probes)]


def test_who_needs_no_training_gets_none(llama: Backbone) -> None:
    editor = watcher(Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING)
    prepare(editor, llama, [FACT])
    assert editor.facts is None


def test_who_needs_training_and_does_not_say_so_is_refused(llama: Backbone) -> None:
    class Learner(Watcher):
        sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.TARGET_ANSWER})
        learning = True

    editor = Learner()
    with pytest.raises(PluginError, match=r"Learner needs training, so its `sees` .* Sight\.SOURCE_TRAINING"):
        prepare(editor, llama, [FACT])
    assert editor.facts is None


# The methods of the suite -----------------------------------------------------------------------------------------------


def test_two_methods_see_the_answer_of_the_other_language() -> None:
    names = list(get_plugins().methods)
    told = [name for name in names if Sight.TARGET_ANSWER in editor_class(name).sees]
    assert told == ["ike-published", "xmemit-given"]
    parallel = [name for name in names if Sight.PARALLEL_TRAINING in editor_class(name).sees and name not in told]
    assert parallel == ["remake", "scr", "xmem", "xmemit", "xmend"]
    assert all(editor_class(name).sees == {Sight.SOURCE_EDIT, Sight.PARALLEL_TRAINING} for name in parallel)
    usual = {Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING}
    assert all(editor_class(name).sees <= usual for name in names if name not in (*told, *parallel))


def test_the_published_ike_is_handed_it_and_the_honest_one_is_not(llama: Backbone) -> None:
    (published,) = make_changes(xkeb.load_editor("ike-published", k=0), llama, [EDIT])
    (honest,) = make_changes(xkeb.load_editor("ike", k=0), llama, [EDIT])
    assert isinstance(published, ContextChange) and isinstance(honest, ContextChange)
    shown = published.context("zh").rpartition("New Fact")[2]  # before it the new fact stands as a demonstration, too
    assert "札幌" in shown and "Sapporo" not in shown
    assert "札幌" not in honest.context("zh") and "Sapporo" in honest.context("zh")
