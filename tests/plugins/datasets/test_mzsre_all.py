"""MzsRE in several languages at once: records joined over the pair files, what a case lacks, and parallel training facts."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from mzsre_files import FILES, NAMES, records, side, write_test, write_training

from xkeb.data.parallel import ParallelRecords
from xkeb.data.report import check_dataset
from xkeb.errors import NotHereError, RequestError
from xkeb.registry.manager import get_plugins
from xkeb.tasks.task import Task, expand_groups, load_definitions, load_task
from xkeb.types import Direction, LanguagePair, Missing, Skipped

MZSRE = cast(ParallelRecords, get_plugins().datasets.get("mzsre"))
EN_ALL, DE_ALL = Direction("en", tuple(FILES)), Direction("de", ("en", "ru", "th"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four languages, the files in other orders, and nothing else where data is looked for."""
    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    write_test(tmp_path, "de")
    write_test(tmp_path, "ru", records("ru")[::-1])
    write_test(tmp_path, "th", records("th", [3, 4, 5, 0, 1, 2]))
    return tmp_path


@pytest.mark.parametrize("direction", [EN_ALL, DE_ALL], ids=lambda direction: direction.name)
def test_a_case_has_the_probes_of_every_pair_of_its_source(folder: Path, direction: Direction) -> None:
    whole = MZSRE.test(direction, folder)
    assert (len(whole.cases), whole.skipped, whole.missing) == (len(NAMES), (), ())
    for target in direction.targets:
        pair = MZSRE.test(LanguagePair(direction.source, target), folder)
        by_prompt = {case.edit.prompt: case for case in pair.cases}
        for case in whole.cases:
            twin = by_prompt[case.edit.prompt]
            asked = [probe for probe in case.probes if probe.language in (direction.source, target)]
            assert asked == list(twin.probes)
            assert {**twin.edit.translations, **case.edit.translations} == case.edit.translations
            assert {**twin.edit.questions, **case.edit.questions} == case.edit.questions
    case = whole.cases[2]
    assert len(case.probes) == 1 + 3 * 4
    assert case.edit.translations == dict.fromkeys(("en", *FILES), "1984")


def test_ids_are_places_in_the_source_s_file_and_those_of_its_pairs(folder: Path) -> None:
    ru = MZSRE.test(Direction("ru", ("en", "de", "th")), folder)
    assert [(case.id, case.edit.subject) for case in ru.cases] == [
        (case.id, case.edit.subject) for case in MZSRE.test(LanguagePair("ru", "en"), folder).cases
    ]
    assert [case.edit.subject for case in ru.cases] == list(NAMES[::-1])


def test_the_subject_is_looked_for_by_the_names_that_every_pair_knows(folder: Path) -> None:
    """English ones, so that the edit is that of the pair with English, whatever the other targets call it."""
    german = [{"en": side("en", i), "de": side("de", i, subject="nirgends")} for i in range(3)]
    write_test(folder, "de", german)
    for case in MZSRE.test(DE_ALL, folder).cases:
        assert case.edit.aliases == (NAMES[int(case.id)],)
    assert MZSRE.test(EN_ALL, folder).cases[0].edit.aliases == ("nirgends", "Ada", "Ada")


def test_what_a_case_lacks_is_named_and_the_rest_is_kept(folder: Path) -> None:
    write_test(folder, "de", [*records("de", [0, 1]), {"en": side("en", 2), "de": side("de", 2, loc_ans="")}])
    write_test(folder, "ru", records("ru", [4, 0, 2]))
    write_test(folder, "th", records("th", [0, 1]))
    loaded = MZSRE.test(EN_ALL, folder)
    lacks = "mzsre_test_duplicate_en{0}.json has no {0} record with the en question 'What does {1} have?'".format
    languages = {case.id: [*case.edit.translations] for case in loaded.cases}
    assert languages == {
        "0": ["en", "de", "ru", "th"],
        "1": ["en", "de", "th"],
        "2": ["en", "ru"],
        "ru-0": ["en", "ru"],
    }
    assert loaded.missing == (
        Missing("1", "ru", lacks("ru", "Bo")),
        Missing("2", "de", "de: empty loc_ans"),
        Missing("2", "th", lacks("th", "Cy")),
        Missing("ru-0", "de", lacks("de", "Emil")),
        Missing("ru-0", "th", lacks("th", "Emil")),
    )
    assert loaded.skipped == ()
    assert {probe.language for probe in loaded.cases[2].probes} == {"en", "ru"}


def test_without_its_source_or_any_target_a_record_is_skipped(folder: Path) -> None:
    write_test(folder, "de", [{"en": side("en", i, alt=" " if i == 0 else "x"), "de": side("de", i)} for i in range(3)])
    write_test(folder, "ru", records("ru", [1, 2]))
    write_test(folder, "th", records("th", [2]))
    assert MZSRE.test(EN_ALL, folder).skipped == (
        Skipped("0", "mzsre_test_duplicate_enru.json has no ru record with the en question 'What does Ada have?'"),
    )
    german = MZSRE.test(Direction("de", ("ru", "th")), folder)
    assert [case.id for case in german.cases] == ["1", "2"]  # 0 is in neither
    assert [skip.case_id for skip in german.skipped] == ["0"]


def test_a_hash_stands_for_all_files_and_a_file_that_is_not_there_is_told(folder: Path) -> None:
    before = MZSRE.test(EN_ALL, folder).sha256
    write_test(folder, "th")
    assert MZSRE.test(EN_ALL, folder).sha256 != before
    with pytest.raises(NotHereError, match=r"lacks mzsre_test_duplicate_encz.json: .*`xkeb data fetch mzsre`"):
        MZSRE.test(Direction("en", ("de", "cs")), folder)
    (stated,) = MZSRE.registered_hashes(load_task("mzsre_en2all").pair)
    assert MZSRE.registered_hashes(load_task("mzsre_de2all").pair) == {stated}  # so results of both stand in one matrix


def test_an_english_side_that_is_another_in_one_file_is_told(folder: Path) -> None:
    content = records("th")
    content[1]["en"]["rephrase"] = "Bo has, you say?"
    content[2]["en"]["src"] = "Something else?"
    for code in ("de", "ru"):
        write_test(folder, code)
    write_test(folder, "th", content)
    issues = [
        issue for issue in check_dataset(MZSRE, folder).issues if issue.kind in ("unequal sides", "misaligned files")
    ]
    found = {(issue.kind, issue.language, issue.record, issue.field) for issue in issues}
    assert found == {("unequal sides", "en/th", 1, "rephrase"), ("misaligned files", "en/th", 2, "")}
    (detail,) = (issue.detail for issue in issues if issue.kind == "unequal sides")
    assert "'Bo has what?' in mzsre_test_duplicate_ende.json, 'Bo has, you say?' in mzsre_test_duplicate_enth" in detail


def test_training_facts_are_joined_over_all_languages_that_have_them(folder: Path) -> None:
    write_training(folder, 5, lacking={"de": [1], "ru": [1, 2], "th": [1]})
    task = Task("t", 1, MZSRE, EN_ALL, data_dir=folder)
    facts = {case.id: case.edit for case in task.parallel_training.cases}
    assert {i: list(fact.translations) for i, fact in facts.items()} == {
        "0": ["en", "de", "ru", "th"],
        "2": ["en", "de", "th"],
        "3": ["en", "de", "ru", "th"],
        "4": ["en", "de", "ru", "th"],
    }  # 1 has no answer in any other language
    assert facts["3"].questions["ru"] == "Что рядом с F3?"
    assert len(task.parallel_training.skipped) == 4
    pair = Task("t", 1, MZSRE, LanguagePair("en", "de"), data_dir=folder)
    assert [case.edit.translations for case in pair.parallel_training.cases][1] == {"en": "G2", "de": "de2"}
    assert pair.parallel_training.sha256 != task.parallel_training.sha256
    path = folder / "mzsre" / "zsre_mend_train_th_10000.txt"
    path.write_text("\n".join(["leer"] * 5), encoding="utf-8")
    with pytest.raises(RequestError, match=r"No training fact in .*_10000\.json is in .*_th_10000\.txt, too\."):
        _ = Task("t", 1, MZSRE, EN_ALL, data_dir=folder).parallel_training


def test_what_the_english_file_asks_is_known_in_pairs_without_english(folder: Path) -> None:
    write_training(folder, 4, lacking={"de": [1]})
    pair = Task("t", 1, MZSRE, LanguagePair("de", "ru"), data_dir=folder)
    english = {case.id: case.probes for case in MZSRE.training("en", folder).cases}
    facts = pair.parallel_training.cases
    assert [case.id for case in facts] == ["0", "2", "3"]
    assert all(case.edit.questions.keys() == case.edit.translations.keys() == {"de", "ru"} for case in facts)
    assert all(case.probes == english[case.id] for case in facts) and len(english["0"]) == 2
    before = pair.parallel_training.sha256
    write_training(folder, 5)
    assert Task("t", 1, MZSRE, LanguagePair("de", "ru"), data_dir=folder).parallel_training.sha256 != before
    (folder / "bizsre" / "zsre_mend_train_10000.json").unlink()
    with pytest.raises(NotHereError, match="zsre_mend_train_10000"):
        _ = Task("t", 1, MZSRE, LanguagePair("de", "ru"), data_dir=folder).parallel_training
    assert Task("t", 1, MZSRE, LanguagePair("de", "ru"), data_dir=folder).training.cases


def test_there_is_a_task_for_each_source_and_a_group_of_them() -> None:
    known = load_definitions()
    names = expand_groups(["mzsre_all2all"], known)
    assert names == [f"mzsre_{code}2all" for code in MZSRE.languages]
    for name, code in zip(names, MZSRE.languages, strict=True):
        task = load_task(name)
        assert task.aligned and task.pair.source == code
        assert task.pair.targets == tuple(other for other in MZSRE.languages if other != code)
