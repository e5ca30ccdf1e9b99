"""BMIKE-53: three sets of one loader, a language a file, joined by their ids. The small records are our own."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from xkeb.data.parallel import ParallelRecords
from xkeb.data.report import check_dataset
from xkeb.errors import NotHereError, RequestError
from xkeb.registry.manager import get_plugins
from xkeb.tasks.slices import slices_of
from xkeb.tasks.task import expand_groups, load_definitions, load_task
from xkeb.types import Direction, LanguagePair, Missing, Skipped

PARTS = {"zsre": "zsRE/zsre_test_{}.json", "counterfact": "CounterFact/counterfact_test_{}.json",
         "wikifactdiff": "WikiFactDiff/wfd_test_{}.json"}  # fmt: skip
SETS = {part: cast(ParallelRecords, get_plugins().datasets.get(f"bmike53_{part}")) for part in PARTS}
COUNTERFACT = SETS["counterfact"]
EN_HE, EN_SEVERAL = LanguagePair("en", "he"), Direction("en", ("ar", "ceb", "he"))

WORDS = {
    "en": ("Where is {}?", "In which place is {}?", "What is near {}?", "Who is there where {} is?"),
    "ar": ("أين يقع {}؟", "في أي مكان يقع {}؟", "ما الذي يقع قرب {}؟", "من هناك حيث {}؟"),
    "ceb": ("Asa ang {}?", "Sa unsang dapit ang {}?", "Unsa ang duol sa {}?", "Kinsa ang anaa kung asa ang {}?"),
    "he": ("איפה {}?", "באיזה מקום {}?", "מה ליד {}?", "מי שם, איפה ש{}?"),
}
ANSWERS = {"en": ("Rome", "Paris", "Oslo"), "ar": ("روما", "باريس", "أوسلو"), "ceb": ("Rome", "Paris", "Oslo"),
           "he": ("רומא", "פריז", "אוסלו")}  # fmt: skip
NAMES = ("Ada Tower", "Bo Bridge", "Cy Gate")


def side(code: str, i: int, **changes: Any) -> dict[str, Any]:
    src, rephrase, loc, port = (text.format(NAMES[i]) for text in WORDS[code])
    answers = ANSWERS[code]
    return {"case_id": 40 + 3 * i, "subject": NAMES[i], "src": src, "rephrase": rephrase, "old": answers[i - 1],
            "alt": answers[i], "loc": loc, "loc_ans": answers[-1 - i], "port": port, "port_ans": answers[i],
            **changes}  # fmt: skip


def records(code: str, chosen: tuple[int, ...] = (0, 1, 2)) -> list[dict[str, Any]]:
    return [{"en": side("en", i), code: side(code, i)} for i in chosen]


def write(folder: Path, code: str, content: list[dict[str, Any]] | None = None, part: str = "counterfact") -> Path:
    path = folder / "bmike53" / PARTS[part].format(code)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content or records(code), ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three languages of CounterFact, one file in another order, and nothing else where data is looked for."""
    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    write(tmp_path, "ar")
    write(tmp_path, "ceb", records("ceb", (2, 0, 1)))
    write(tmp_path, "he")
    return tmp_path


@pytest.mark.parametrize("part", PARTS)
def test_one_loader_reads_each_set(tmp_path: Path, part: str) -> None:
    write(tmp_path, "ar", part=part)
    loaded = SETS[part].test(LanguagePair("en", "ar"), tmp_path)
    case = loaded.cases[1]
    assert (case.edit.prompt, case.edit.target, case.edit.subject) == ("Where is Bo Bridge?", "Paris", "Bo Bridge")
    assert case.edit.translations == {"en": "Paris", "ar": "باريس"}
    asked = [(probe.property, probe.language) for probe in case.probes]
    assert asked == [("reliability", "en"), *((name, code) for code in ("en", "ar") for name in
                     ("generality", "locality", "portability"))]  # fmt: skip
    assert (case.probes[6].prompt, case.probes[6].reference) == ("من هناك حيث Bo Bridge؟", "باريس")


def test_one_edit_is_asked_in_every_language_and_a_language_that_it_lacks_is_counted(folder: Path) -> None:
    write(
        folder, "he", [*records("he", (0,)), {"en": side("en", 1)}, {"en": side("en", 2), "he": side("he", 2, alt="")}]
    )
    loaded = COUNTERFACT.test(EN_SEVERAL, folder)
    assert [list(case.edit.translations) for case in loaded.cases] == [
        ["en", "ar", "ceb", "he"],
        ["en", "ar", "ceb"],
        ["en", "ar", "ceb"],
    ]
    assert loaded.missing == (
        Missing("1", "he", "counterfact_test_he.json has no he record with case_id 43"),
        Missing("2", "he", "he: empty alt"),
    )
    assert loaded.cases[2].edit.translations["ceb"] == "Oslo"  # joined by id, not by place
    pair = COUNTERFACT.test(EN_HE, folder)
    assert [case.id for case in pair.cases] == ["0"]
    assert [skip.case_id for skip in pair.skipped] == ["1", "2"]
    assert pair.skipped[0] == Skipped("1", "counterfact_test_he.json has no he record with case_id 43")


def test_two_others_are_joined_and_the_same_english_question_twice_is_no_hindrance(folder: Path) -> None:
    twice = records("ar")
    twice[2]["en"]["src"] = twice[0]["en"]["src"]
    write(folder, "ar", twice)
    loaded = COUNTERFACT.test(LanguagePair("ar", "ceb"), folder)
    assert [(case.edit.translations["ar"], case.edit.translations["ceb"]) for case in loaded.cases] == [
        ("روما", "Rome"),
        ("باريس", "Paris"),
        ("أوسلو", "Oslo"),
    ]


def test_a_file_of_another_language_is_refused(folder: Path) -> None:
    write(folder, "fi", records("ar"))
    with pytest.raises(RequestError, match=r"counterfact_test_fi\.json: record 0: field fi is missing\."):
        COUNTERFACT.test(LanguagePair("en", "fi"), folder)
    with pytest.raises(
        NotHereError, match=r"lacks CounterFact/counterfact_test_ja\.json: .*/bmike53.*`xkeb data fetch bmike53_c"
    ):
        COUNTERFACT.test(LanguagePair("en", "ja"), folder)


def test_training_facts_are_english_flat_or_below_their_language(folder: Path) -> None:
    fact = {"case_id": 0, "subject": "Bo", "src": "Bo lives in", "rephrase": "Bo is at home in", "alt": "Oslo"}
    for part, content in (("CounterFact/counterfact-train.json", [fact | {"loc": "Ada sings", "loc_ans": "alto"}]),
                          ("WikiFactDiff/wfd-train.json", [{"en": fact | {"loc": "", "loc_ans": ""}}])):  # fmt: skip
        (folder / "bmike53" / part).parent.mkdir(exist_ok=True)
        (folder / "bmike53" / part).write_text(json.dumps(content), encoding="utf-8")
    (flat,) = COUNTERFACT.training("en", folder).cases
    (nested,) = SETS["wikifactdiff"].training("en", folder).cases
    assert flat.edit == nested.edit and flat.edit.target == "Oslo"
    assert [probe.property for probe in flat.probes] == ["generality", "locality"]
    assert [probe.property for probe in nested.probes] == ["generality"]
    with pytest.raises(RequestError, match="no training file in 'ar'"):
        COUNTERFACT.training("ar", folder)


def test_the_check_names_every_kind_of_dirt(folder: Path) -> None:
    repeated = side("he", 0, rephrase=WORDS["he"][0].format(NAMES[0]))
    true = side("he", 2, alt=side("he", 2)["old"], port_ans="")
    dirty = [{"en": side("en", 0), "he": repeated}, {"en": side("en", 1)}, {"en": side("en", 2), "he": true}]
    write(folder, "he", dirty)
    english = records("ceb", (2, 0, 1))
    english[1]["ceb"]["src"] = english[1]["en"]["src"]
    write(folder, "ceb", english)
    found = {(issue.kind, issue.language, issue.record) for issue in check_dataset(COUNTERFACT, folder).issues}
    assert {
        ("absent language", "he", 1),
        ("rephrase equals question", "he", 0),
        ("empty field", "he", 2),
        ("true answer as target", "he", 2),
        ("misaligned files", "en/ceb", 0),
    } <= found
    write(folder, "ceb", [english[1], english[2], english[0]])
    issues = check_dataset(COUNTERFACT, folder).issues
    same = [(issue.kind, issue.record) for issue in issues if issue.language == "en/ceb"]
    assert same == [("same answer", 0), ("same question", 0), ("same answer", 1), ("same answer", 2)]


def test_there_is_a_task_for_each_language_and_direction_and_one_that_asks_in_all() -> None:
    known = load_definitions()
    for part, dataset in SETS.items():
        assert len(dataset.languages) == 53 == len(set(dataset.languages))
        others = dataset.languages[1:]
        assert expand_groups([f"bmike53_{part}_en2x"], known) == [f"bmike53_{part}_en2{code}" for code in others]
        assert expand_groups([f"bmike53_{part}_x2en"], known) == [f"bmike53_{part}_{code}2en" for code in others]
        task = load_task(f"bmike53_{part}_en2all", definitions=known)
        assert (task.pair, task.dataset, task.aligned) == (Direction("en", others), dataset, True)
        there = load_task(f"bmike53_{part}_ja2en", definitions=known)
        assert (there.pair, there.aligned) == (LanguagePair("ja", "en"), True)
    assert len(expand_groups(["bmike53_en2all"], known)) == 3
    assert {*SETS["zsre"].languages} == {*get_plugins().languages}


def test_every_file_is_pinned_and_stands_in_the_folder_that_they_share() -> None:
    files = [download.file for dataset in SETS.values() for download in dataset.downloads]
    assert len(files) == len(set(files)) == 3 * 53
    for part, dataset in SETS.items():
        assert dataset.folder == "bmike53"
        assert dataset.test_files(["fi"]) == (PARTS[part].format("fi"),)
        assert {one.file for one in dataset.downloads} == {
            *dataset.test_files(dataset.languages),
            *dataset.training_files.values(),
        }
        assert all(
            one.sha256 and len(one.sha256) == 64 and one.url.endswith(f"/BMIKE53/{one.file}")
            for one in dataset.downloads
        )


REAL = Path(os.environ.get("XKEB_DATA_DIR", "nowhere")) / "bmike53"
THERE = [(part, code) for part, dataset in SETS.items() for code in dataset.languages[1:]
         if (REAL / PARTS[part].format(code)).is_file()]  # fmt: skip
real = pytest.mark.skipif(not THERE, reason="the upstream files are not at hand: set XKEB_DATA_DIR")


@real
@pytest.mark.parametrize("part", PARTS)
def test_the_real_files_hold_the_same_english_and_every_record_is_counted(part: str) -> None:
    languages = [code for one, code in THERE if one == part][:5]
    english: list[dict[str, Any]] = []
    for code in languages:
        content = json.loads((REAL / PARTS[part].format(code)).read_text("utf-8"))
        english = english or [record["en"] for record in content]
        assert [record["en"] for record in content] == english
        assert len({record["en"]["case_id"] for record in content}) == len(content)
        loaded = load_task(f"bmike53_{part}_en2{code}", data_dir=REAL.parent).test
        assert len(loaded.cases) + len(loaded.skipped) == len(content)
        assert all(
            loaded.located[case.id] in (None, "exact") or case.edit.subject in case.edit.prompt for case in loaded.cases
        )
    several = SETS[part].test(Direction("en", tuple(languages)), REAL.parent)
    for case in several.cases:
        assert set(case.edit.translations) | {lack.language for lack in several.missing if lack.case_id == case.id} == {
            "en",
            *languages,
        }


@real
def test_nearly_all_cebuano_answers_of_counterfact_are_the_english_ones() -> None:
    if ("counterfact", "ceb") not in THERE:
        pytest.skip("there is no Cebuano file")
    task = load_task("bmike53_counterfact_en2ceb", data_dir=REAL.parent)
    slices = Counter(slices_of(case)["answers"] for case in task)
    assert slices["equal"] > 0.9 * slices.total()
