"""CLM-Bench: a file for each language, joined by an id that is a number or a text. The small records are our own."""

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
from xkeb.types import LanguagePair, Skipped

CLM = cast(ParallelRecords, get_plugins().datasets.get("clm_bench"))
ZH_EN, EN_ZH = LanguagePair("zh", "en"), LanguagePair("en", "zh")
REAL = Path(os.environ.get("XKEB_DATA_DIR", "nowhere")) / "clm_bench"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the upstream files are not at hand: set XKEB_DATA_DIR")

FACTS: list[tuple[Any, tuple[str, str, str], tuple[str, str, str]]] = [
    (1, ("绿塔位于", "绿塔", "海边"), ("The Green Tower stands by", "Green Tower", "the sea")),
    (2, ("蓝桥的建造者是", "蓝桥", "艾达"), ("The builder of the Blue Bridge is", "Blue Bridge", "Ada")),
    ("1", ("白马的主人是", "白马", "IBM"), ("The owner of the White Horse is", "White Horse", "IBM")),
]
"""Ids, and the question, subject and new answer in Chinese and English. The text "1" is another id than the number."""


def chinese(i: int, **changes: Any) -> dict[str, Any]:
    key, (prompt, subject, answer), _ = FACTS[i]
    texts = {"prompt": prompt, "target_new": answer, "subject": subject, "ground_truth": "山上"}
    rest = {"rephrase_prompt": f"据说{prompt}", "loc": "红色是什么", "loc_ans": "颜色"}
    return {"case_id": key, **texts, **rest, **changes}


def english(i: int, **changes: Any) -> dict[str, Any]:
    key, _, (prompt, subject, answer) = FACTS[i]
    texts = {"prompt": prompt, "target_new": answer, "subject": subject, "ground_truth": None}
    own = {f"english_{name}": text for name, text in {**texts, "rephrase_prompt": f"They say: {prompt}"}.items()}
    return {"case_id": key, **own, "loc": "nq question: what is red", "loc_ans": "a colour", **changes}


def write(folder: Path, zh: list[dict[str, Any]], en: list[dict[str, Any]]) -> None:
    (folder / "clm_bench").mkdir(exist_ok=True)
    for name, records in (("chinese", zh), ("english", en)):
        path = folder / "clm_bench" / f"{name}_fields_with_loc.json"
        path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The three facts, the English ones in another order, and nothing else where data is looked for."""
    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    write(tmp_path, [chinese(i) for i in range(3)], [english(i) for i in (2, 0, 1)])
    return tmp_path


def test_a_case_asks_what_the_files_have_and_nothing_of_portability(folder: Path) -> None:
    loaded = CLM.test(ZH_EN, folder)
    assert ([case.id for case in loaded.cases], loaded.skipped) == (["0", "1", "2"], ())
    case = loaded.cases[0]
    assert (case.edit.prompt, case.edit.target, case.edit.subject) == ("绿塔位于", "海边", "绿塔")
    assert (case.edit.translations, case.edit.aliases) == ({"zh": "海边", "en": "the sea"}, ("Green Tower",))
    assert [(probe.property, probe.language, probe.prompt, probe.reference) for probe in case.probes] == [
        ("reliability", "zh", "绿塔位于", "海边"),
        ("generality", "zh", "据说绿塔位于", "海边"),
        ("locality", "zh", "红色是什么", "颜色"),
        ("generality", "en", "They say: The Green Tower stands by", "the sea"),
        ("locality", "en", "what is red", "a colour"),
    ]
    assert case.probes[4].raw is not None and case.probes[4].raw.prompt == "nq question: what is red"


def test_records_are_joined_by_id_and_a_text_is_another_id_than_the_number(folder: Path) -> None:
    for pair, order in ((ZH_EN, (0, 1, 2)), (EN_ZH, (2, 0, 1))):
        loaded = CLM.test(pair, folder)
        assert [case.edit.translations["en"] for case in loaded.cases] == [FACTS[i][2][2] for i in order]
        assert [case.edit.translations["zh"] for case in loaded.cases] == [FACTS[i][1][2] for i in order]
    assert CLM.test(ZH_EN, folder).sha256 == CLM.test(EN_ZH, folder).sha256


def test_what_one_file_lacks_or_has_twice_is_told(folder: Path) -> None:
    write(folder, [chinese(0), chinese(2)], [english(0, loc_ans=" "), english(1), english(2)])
    assert CLM.test(EN_ZH, folder).skipped == (
        Skipped("1", "chinese_fields_with_loc.json has no zh record with case_id 2"),
        Skipped("0", "en: empty loc_ans"),
    )
    write(folder, [chinese(0), chinese(0)], [english(0)])
    with pytest.raises(RequestError, match=r"record 1 has the case_id 1 again; it can't be joined by its case_id\."):
        CLM.test(EN_ZH, folder)


def test_another_schema_is_told_by_the_file_s_own_names(folder: Path) -> None:
    broken = english(0)
    del broken["english_prompt"]
    write(folder, [chinese(0)], [broken])
    with pytest.raises(RequestError, match=r"english_fields_with_loc\.json: record 0: field english_prompt is missing"):
        CLM.test(ZH_EN, folder)
    (folder / "clm_bench" / "english_fields_with_loc.json").unlink()
    with pytest.raises(NotHereError, match=r"lacks english_fields_with_loc\.json: .*`xkeb data fetch clm_bench`"):
        CLM.test(ZH_EN, folder)
    with pytest.raises(RequestError, match="no training file in 'zh'"):
        CLM.training("zh", folder)


def test_a_file_is_checked_as_it_will_be_read(folder: Path) -> None:
    for name in ("chinese", "english"):
        CLM.verify(f"{name}_fields_with_loc.json", folder / "clm_bench" / f"{name}_fields_with_loc.json")
    with pytest.raises(RequestError, match="field english_subject is missing"):
        CLM.verify("english_fields_with_loc.json", folder / "clm_bench" / "chinese_fields_with_loc.json")


def test_the_check_names_the_dirt_and_counts_what_is_absent(folder: Path) -> None:
    write(folder, [chinese(0, target_new="山上"), chinese(1), chinese(2)], [english(i) for i in range(3)])
    report = check_dataset(CLM, folder)
    counts = {(count.kind, count.language, count.field): count.records for count in report.counts}
    assert counts == {
        ("absent field", "zh", "portability question"): 3,
        ("absent field", "zh", "portability answer"): 3,
        ("absent field", "en", "portability question"): 3,
        ("absent field", "en", "portability answer"): 3,
        ("locality prefix", "en", "loc"): 3,
        ("same answer", "zh/en", "alt"): 1,
        ("true answer as target", "zh", "alt"): 1,
    }
    assert [(row.language, row.located["exact"]) for row in report.subjects] == [("zh", 3), ("en", 3)]
    write(folder, [chinese(0), chinese(1)], [english(1), english(0)])
    assert "misaligned files" in {issue.kind for issue in check_dataset(CLM, folder).issues}


def test_both_directions_are_tasks_and_pinned_files_are_fetched() -> None:
    assert expand_groups(["clm_bench"], load_definitions()) == ["clm_bench_zh2en", "clm_bench_en2zh"]
    assert load_task("clm_bench_zh2en").pair == ZH_EN and load_task("clm_bench_en2zh").pair == EN_ZH
    assert all(one.sha256 and "/c981f5a4" in one.url for one in CLM.downloads)
    assert len(CLM.registered_hashes(ZH_EN)) == 1 and CLM.registered_hashes(ZH_EN) == CLM.registered_hashes(EN_ZH)


@real
def test_the_real_files_are_whole_and_aligned() -> None:
    ours = json.loads((REAL / "chinese_fields_with_loc.json").read_text("utf-8"))
    theirs = json.loads((REAL / "english_fields_with_loc.json").read_text("utf-8"))
    for name in ("clm_bench_zh2en", "clm_bench_en2zh"):
        loaded = load_task(name, data_dir=REAL.parent).test
        assert (len(loaded.cases), loaded.skipped, loaded.missing) == (len(ours), (), ())
        for case, zh, en in zip(loaded.cases, ours, theirs, strict=True):
            assert case.edit.translations == {"zh": zh["target_new"].strip(), "en": en["english_target_new"].strip()}
            assert case.edit.subject in case.edit.prompt
            assert {probe.property for probe in case.probes} == {"reliability", "generality", "locality"}
    assert not any(issue.kind == "misaligned files" for issue in check_dataset(CLM, REAL.parent).issues)


@real
def test_almost_every_real_answer_differs() -> None:
    slices = Counter(slices_of(case)["answers"] for case in load_task("clm_bench_zh2en", data_dir=REAL.parent))
    assert slices["differ"] >= 0.99 * slices.total()
