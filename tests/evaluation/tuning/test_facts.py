"""The facts that a tuning asks, and that nothing is learned from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from tuning_data import SMALL_MEND, records, replace, write_facts

import xkeb
from xkeb.editing.editor import prepare
from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.tuning import tune
from xkeb.evaluation.tuning.facts import HELD_OUT, VALIDATION, TuningFacts, tuning_task
from xkeb.models.backbone import Backbone
from xkeb.tasks.task import Task, load_task
from xkeb.types import Case, Direction, Edit
from xkeb_plugins.methods.ike import InContext
from xkeb_plugins.methods.mend.editor import Mend

pytest_plugins = ("tuning_data",)
pytestmark = pytest.mark.usefixtures("cache_of_this_module")


def facts_of(task: Task) -> TuningFacts:
    assert isinstance(task.dataset, TuningFacts)
    return task.dataset


def questions(case: Case) -> set[str]:
    return {case.edit.prompt, *(probe.prompt for probe in case.probes)}


def test_without_a_validation_file_the_last_training_facts_are_held_out(facts_dir: Path) -> None:
    task = tuning_task(load_task("bizsre_en2zh", data_dir=facts_dir), 5)
    assert [case.edit.prompt for case in task] == [fact["src"] for fact in records()[-5:]]
    assert facts_of(task).record(learns=False)["source"] == HELD_OUT
    last = next(iter(task))
    fact = records()[-5]
    asked = [(probe.property, probe.language, probe.prompt, probe.reference) for probe in last.probes]
    assert asked == [
        ("reliability", "en", fact["src"], fact["alt"]),
        ("generality", "en", fact["rephrase"], fact["alt"]),
        ("locality", "en", fact["loc"].removeprefix("nq question: "), fact["loc_ans"]),
    ]


def test_a_validation_file_comes_first_in_either_language(facts_dir: Path) -> None:
    for task_name, file, language in (
        ("bizsre_en2zh", "zsre_mend_eval.json", "en"),
        ("bizsre_zh2en", "zsre_mend_eval_chinese.json", "zh"),
    ):
        write_facts(facts_dir, file, records(language)[100:110])
        task = tuning_task(load_task(task_name, data_dir=facts_dir), 3)
        assert [case.edit.prompt for case in task] == [fact["src"] for fact in records(language)[100:103]]
        assert {probe.language for case in task for probe in case.probes} == {language}
        assert facts_of(task).record(learns=False)["source"] == VALIDATION
        assert facts_of(task).record(learns=False)["file"] == file


@pytest.mark.parametrize("validation", [False, True])
def test_no_training_fact_has_a_question_or_a_subject_of_theirs(facts_dir: Path, validation: bool) -> None:
    facts = records()
    held = facts[50:60] if validation else facts[-10:]
    others = [
        {**facts[0], "rephrase": held[3]["src"]},
        {**facts[1], "loc": held[4]["loc"]},
        {**facts[2], "src": held[5]["rephrase"]},
        {**facts[3], "loc": held[6]["src"]},
        {**facts[4], "subject": held[7]["subject"]},
    ]
    write_facts(facts_dir, "zsre_mend_train_10000.json", [*others, *facts])
    if validation:
        write_facts(facts_dir, "zsre_mend_eval.json", held)
    plain = load_task("bizsre_en2zh", data_dir=facts_dir)
    task = tuning_task(plain, 10)
    assert [case.edit.prompt for case in task] == [fact["src"] for fact in held]
    left = {case.id for case in task.training.cases}
    own = [str(5 + facts.index(fact)) for fact in held]
    near = [case.id for case in plain.training.cases if case.id not in left]
    assert near == ["0", "1", "2", "3", "4", *own]
    assert task.training.sha256 != plain.training.sha256
    assert facts_of(task).record(learns=True)["learned_from"] == {
        "file": "zsre_mend_train_10000.json",
        "facts": len(left),
        "left_out": len(near),
    }


def test_a_question_in_another_spelling_is_the_same_question(facts_dir: Path) -> None:
    facts = [{"src": f"Who made {i}?", "alt": "Ada", "subject": ""} for i in range(6)]
    again = {"src": "who made  5 ?", "alt": "Bo", "subject": ""}
    write_facts(facts_dir, "zsre_mend_train_10000.json", [again, *facts])
    task = tuning_task(load_task("bizsre_en2zh", data_dir=facts_dir), 2)
    assert [case.edit.prompt for case in task] == ["Who made 4?", "Who made 5?"]
    assert [case.edit.prompt for case in task.training.cases] == [f"Who made {i}?" for i in range(4)]


def test_facts_with_all_questions_come_before_others_and_none_twice(facts_dir: Path) -> None:
    full = records()[:3]
    bare = [{"src": f"Who made {i}?", "alt": "Ada"} for i in range(3)]
    write_facts(facts_dir, "zsre_mend_train_10000.json", [*full, full[1], *bare])
    task = tuning_task(load_task("bizsre_en2zh", data_dir=facts_dir), 2)
    assert [(case.id, case.edit.prompt) for case in task] == [("2", full[2]["src"]), ("3", full[1]["src"])]


def test_facts_on_both_sides_are_left_out_of_parallel_training(facts_dir: Path) -> None:
    plain = load_task("bizsre_en2zh", data_dir=facts_dir)
    task = tuning_task(plain, 10)
    assert {case.id for case in task.parallel_training.cases} == {case.id for case in task.training.cases}
    assert len(task.parallel_training.cases) < len(plain.parallel_training.cases)


def test_the_facts_are_asked_in_the_other_languages_too(facts_dir: Path) -> None:
    """A parallel fact without a rephrase is asked its own question."""
    chinese = records("zh")
    del chinese[-1]["rephrase"]
    write_facts(facts_dir, "zsre_mend_train_10000_chinese.json", chinese)
    plain = load_task("bizsre_en2zh", data_dir=facts_dir)
    task = tuning_task(plain, 2, cross_lingual=True)
    alone = tuning_task(plain, 2)
    for case, same, fact in zip(task, alone, chinese[-2:], strict=True):
        own = [probe for probe in case.probes if probe.language == "en"]
        assert (case.id, own) == (same.id, list(same.probes))
        bare = [dataclasses.replace(one.edit, translations={}, questions={}, aliases=()) for one in (case, same)]
        assert bare[0] == bare[1] and (case.edit.aliases, same.edit.aliases) == ((fact["subject"],), ())
        assert same.edit.translations == {"en": case.edit.target} and same.edit.questions == {"en": case.edit.prompt}
        assert case.edit.translations == {"en": case.edit.target, "zh": fact["alt"]}
        assert case.edit.questions == {"en": case.edit.prompt, "zh": fact["src"]}
        assert [(probe.property, probe.prompt, probe.reference) for probe in case.probes if probe.language == "zh"] == [
            ("generality", fact.get("rephrase", fact["src"]), fact["alt"]),
            ("locality", fact["loc"], fact["loc_ans"]),
        ]
    assert facts_of(task).record(learns=False)["also_asked_in"] == ["zh"]
    assert facts_of(alone).record(learns=False)["also_asked_in"] == []
    assert task.test.sha256 != alone.test.sha256


@pytest.mark.parametrize("validation", [False, True])
def test_nothing_is_learned_of_what_is_asked_in_another_language(facts_dir: Path, validation: bool) -> None:
    """Facts 0 to 2 ask in Chinese alone what a chosen fact asks, or is about."""
    english, chinese = records(), records("zh")
    held = chinese[50:60] if validation else chinese[-10:]
    chinese[0] |= {"rephrase": held[3]["src"]}
    chinese[1] |= {"src": held[4]["rephrase"]}
    chinese[2] |= {"loc": held[5]["loc"]}
    write_facts(facts_dir, "zsre_mend_train_10000_chinese.json", chinese)
    if validation:
        write_facts(facts_dir, "zsre_mend_eval.json", english[50:60])
        write_facts(facts_dir, "zsre_mend_eval_chinese.json", held)
    plain = load_task("bizsre_en2zh", data_dir=facts_dir)
    alone, task = (tuning_task(plain, 10, cross_lingual=also) for also in (False, True))
    known = {case.id for case in alone.training.cases}
    left = {case.id for case in task.training.cases}
    assert {"0", "1", "2"} <= known and left < known
    assert {case.id for case in task.parallel_training.cases} == left
    asked = {probe.prompt for case in task for probe in case.probes} | {case.edit.prompt for case in task}
    assert not asked & set().union(*(questions(case) for case in task.parallel_training.cases))


def test_what_can_t_be_asked_in_another_language_is_said(facts_dir: Path) -> None:
    write_facts(facts_dir, "zsre_mend_eval.json", records()[:3])
    task = tuning_task(load_task("bizsre_en2zh", data_dir=facts_dir), 2, cross_lingual=True)
    with pytest.raises(RequestError, match="There is a validation file in en, and none in zh"):
        _ = task.test
    write_facts(facts_dir, "zsre_mend_eval.json", [records()[0] | {"alt": ""}, *records()[1:3]])
    write_facts(facts_dir, "zsre_mend_eval_chinese.json", records("zh")[:1])
    task = tuning_task(load_task("bizsre_en2zh", data_dir=facts_dir), 2, cross_lingual=True)
    with pytest.raises(RequestError, match="has no fact with a question and an answer in each of en, zh to choose"):
        _ = task.test
    alone = dataclasses.replace(load_task("bizsre_en2zh", data_dir=facts_dir), pair=Direction("en", ()))
    task = tuning_task(alone, 2, cross_lingual=True)
    with pytest.raises(RequestError, match="Task 'bizsre_en2zh' has no other language to ask in: leave out --cross"):
        _ = task.test


def test_a_fact_without_a_subject_has_that_of_its_parallel_fact_where_the_question_holds_it(facts_dir: Path) -> None:
    english = records()
    chinese = [{key: value for key, value in fact.items() if key != "subject"} for fact in records("zh")]
    name = english[-1]["subject"]
    chinese[-1]["src"] = f"{name}在哪里？"
    chinese[0]["src"] = f"{name}是什么？"
    english[0]["subject"] = name
    write_facts(facts_dir, "zsre_mend_train_10000.json", english)
    write_facts(facts_dir, "zsre_mend_train_10000_chinese.json", chinese)
    task = tuning_task(load_task("bizsre_zh2en", data_dir=facts_dir), 2)
    assert [case.edit.subject for case in task] == ["", name]
    learned = [case.id for case in facts_of(task).training("zh").cases]
    assert "0" not in learned  # about the same, as its parallel fact tells
    assert "1" in learned
    (facts_dir / "bizsre" / "zsre_mend_train_10000.json").unlink()
    alone = tuning_task(load_task("bizsre_zh2en", data_dir=facts_dir), 2)
    assert [case.edit.subject for case in alone] == ["", ""]


def test_another_number_of_facts_has_another_hash(facts_dir: Path) -> None:
    plain = load_task("bizsre_en2zh", data_dir=facts_dir)
    hashes = [tuning_task(plain, limit).test.sha256 for limit in (3, 4, 3)]
    assert hashes[0] == hashes[2] != hashes[1]


def test_the_test_file_is_never_read(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It isn't there in any other test of this file; here it is, and reading it raises."""
    write_facts(tmp_path / "data", "bizsre_test.json", [])
    monkeypatch.setattr("xkeb.data.parallel.read_test", lambda *_: pytest.fail("the test file is read"))
    grid = {"layer": [2], "steps": [2]}
    assert tune(replace(config, methods=["ft"]), grid, tmp_path / "out.yaml").chosen == 0
    learns = replace(config, methods=["mend"], method_args=SMALL_MEND)
    assert tune(learns, {"lr": [1e-4]}, tmp_path / "mend.yaml").chosen == 0


# What a method sees ------------------------------------------------------------------------------------------------------


def test_the_demonstrations_of_a_fact_hold_no_fact_that_is_asked(
    config: RunConfig, llama: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: dict[str, str] = {}
    real = InContext.context

    def context(self: InContext, edit: Edit, shown: str) -> str | dict[str, str]:
        contexts[edit.prompt] = shown
        return real(self, edit, shown)

    monkeypatch.setattr(InContext, "context", context)
    tuning = tune(replace(config, methods=["ike"]), {"k": [4]}, tmp_path / "out.yaml")
    assert tuning.points[0].failure is None
    held = records()[-4:]
    assert sorted(contexts) == sorted(fact["src"] for fact in held)
    assert all(text.count("New Fact: ") == 4 for text in contexts.values())
    asked = [fact[key] for fact in held for key in ("src", "rephrase", "loc")]
    assert not [question for text in contexts.values() for question in asked if question in text]

    plain = load_task("bizsre_en2zh", data_dir=config.data_dir)  # with all facts, each is its own demonstration
    editor = prepare(xkeb.load_editor("ike", k=4), llama, plain.training.cases)
    editor.edit(llama, [case.edit for case in plain.training.cases[-4:]])
    assert all(question in text for question, text in contexts.items())


def test_networks_learn_from_no_fact_that_is_asked(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Sequence[Case]] = []
    real = Mend.fit

    def fit(self: Mend, backbone: Backbone, cases: Sequence[Case]) -> None:
        shown.append(cases)
        real(self, backbone, cases)

    monkeypatch.setattr(Mend, "fit", fit)
    tune(replace(config, methods=["mend"], method_args=SMALL_MEND), {"edit_lr": [1e-4, 1e-3]}, tmp_path / "out.yaml")
    assert len(shown) == 2
    held = {fact[key] for fact in records()[-4:] for key in ("src", "rephrase", "loc")}
    for cases in shown:
        assert len(cases) > 200
        assert not held & set().union(*(questions(case) for case in cases))
