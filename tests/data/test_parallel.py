"""`xkeb.data.parallel`: upstream files become cases, and every record that can't is counted with the reason."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import xkeb
from xkeb.data.dataset import Download
from xkeb.data.parallel import ParallelRecords
from xkeb.data.records import read_records
from xkeb.errors import RequestError
from xkeb.registry.manager import get_plugins
from xkeb.types import Direction, Edit, LanguagePair, Probe, Skipped, Texts
from xkeb.utils.hashing import digest_file

Record = dict[str, Any]
EN_ZH, ZH_EN = LanguagePair("en", "zh"), LanguagePair("zh", "en")
DATA = ParallelRecords("tiny", ("en", "zh"), "test.json", {"en": "train.json"})
RECORD: Record = {
    "en": {
        "subject": "Ada",
        "src": "Where does Ada live?",
        "rephrase": "Ada's home is where?",
        "alt": "Rome",
        "loc": "nq question: what is red",
        "loc_ans": "a colour",
        "portability": {"New Question": "In which country does Ada live?", "New Answer": "Italy"},
    },
    "zh": {
        "subject": "艾达",
        "src": "艾达住在哪里？",
        "rephrase": "艾达的家在哪？",
        "alt": "罗马",
        "loc": "红色是什么",
        "loc_ans": "一种颜色",
        "portability": {"New Question": "艾达住在哪个国家？", "New Answer": "意大利"},
    },
}
FACT: Record = {
    "subject": "Bo",
    "src": "Where is Bo?",
    "rephrase": "Bo is where?",
    "alt": "Oslo",
    "loc": "nq question: who is it",
    "loc_ans": "him",
}


def record(language: str = "en", **changes: Any) -> Record:
    made = copy.deepcopy(RECORD)
    made[language] |= changes
    return made


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder, and nothing else where data is looked for."""
    monkeypatch.setenv("XKEB_DATA_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data" / "tiny").mkdir(parents=True)
    return tmp_path / "data"


def write(root: Path, records: Any, file: str = "test.json") -> Path:
    path = root / "tiny" / file
    path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return path


def problem(root: Path) -> str:
    with pytest.raises(RequestError) as caught:
        DATA.test(EN_ZH, root)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("pair", [EN_ZH, ZH_EN], ids=lambda pair: pair.name)
def test_a_record_is_one_edit_and_seven_probes(root: Path, pair: LanguagePair) -> None:
    path = write(root, [RECORD])
    loaded = DATA.test(pair, root)
    (case,) = loaded.cases
    side = RECORD[pair.source]
    assert case.edit == Edit(
        side["src"],
        side["alt"],
        pair.source,
        side["subject"],
        translations={"en": "Rome", "zh": "罗马"},
        questions={"en": "Where does Ada live?", "zh": "艾达住在哪里？"},
        aliases=(RECORD[pair.target]["subject"],),
    )
    raw = {"en": Texts("nq question: what is red", RECORD["en"]["loc_ans"]), "zh": None}
    asked = [Probe("reliability", pair.source, side["src"], side["alt"])]
    for code in pair.languages:
        other = RECORD[code]
        asked += [
            Probe("generality", code, other["rephrase"], other["alt"]),
            Probe("locality", code, {"en": "what is red", "zh": "红色是什么"}[code], other["loc_ans"], raw[code]),
            Probe("portability", code, other["portability"]["New Question"], other["portability"]["New Answer"]),
        ]
    assert list(case.probes) == asked
    assert len(case.probes) == 7
    assert [probe.judged_by for probe in case.probes].count("before") == 2
    assert (loaded.path, loaded.sha256, loaded.skipped) == (path, digest_file(path), ())


@pytest.mark.parametrize(
    ("loc", "asked"),
    [
        ("nq question: what is red", "what is red"),
        ("nq question:what is red", "what is red"),
        ("nq question: question: no one", "question: no one"),
        ("nq question: nq question: twice", "nq question: twice"),
        ("question: is it so", "question: is it so"),
        ("quinoa, where from", "quinoa, where from"),
        ("who says nq question: here", "who says nq question: here"),
        ("  what is red ", "what is red"),
    ],
)
def test_the_prefix_of_a_locality_question_is_taken_off_exactly(root: Path, loc: str, asked: str) -> None:
    """As a prefix, and once: not as a set of characters, which would eat into what follows."""
    write(root, [record(loc=loc)])
    write(root, [FACT | {"loc": loc}], "train.json")
    assert [p.prompt for p in DATA.test(EN_ZH, root).cases[0].probes if p.property == "locality"] == [
        asked,
        "红色是什么",
    ]
    assert [p.prompt for p in DATA.training("en", root).cases[0].probes if p.property == "locality"] == [asked]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"alt": ""}, "empty alt"),
        ({"alt": " \n"}, "empty alt"),
        ({"src": "\u3000"}, "empty src"),
        ({"rephrase": ""}, "empty rephrase"),
        ({"loc": "nq question: "}, "empty loc"),
        ({"loc_ans": ""}, "empty loc_ans"),
        ({"portability": {"New Question": " ", "New Answer": "x"}}, "empty portability question"),
        ({"portability": {"New Question": "x", "New Answer": ""}}, "empty portability answer"),
    ],
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_record_that_can_t_be_asked_is_skipped_with_the_reason(
    root: Path, language: str, changes: Record, reason: str
) -> None:
    write(root, [RECORD, record(language, **changes), RECORD])
    for pair in (EN_ZH, ZH_EN):
        loaded = DATA.test(pair, root)
        assert [case.id for case in loaded.cases] == ["0", "2"]
        assert loaded.skipped == (Skipped("1", f"{language}: {reason}"),)


def test_a_record_without_its_subject_is_kept(root: Path) -> None:
    """Only some methods need it: those say so themselves."""
    write(root, [record(subject="Bo"), record(subject="")])
    assert [case.edit.subject for case in DATA.test(EN_ZH, root).cases] == ["Bo", ""]


def test_texts_are_stripped(root: Path) -> None:
    write(root, [record(src=" Where does Ada live?\n", alt=" Rome ")])
    edit = DATA.test(EN_ZH, root).cases[0].edit
    assert (edit.prompt, edit.target) == ("Where does Ada live?", "Rome")


def test_a_missing_file_says_where_it_was_looked_for_and_how_to_get_it(root: Path, tmp_path: Path) -> None:
    message = problem(root)
    assert message.startswith("Data set 'tiny' lacks test.json: looked in ")
    for folder in (root / "tiny", tmp_path / "nowhere" / "tiny", tmp_path / "cache" / "data" / "tiny"):
        assert str(folder) in message
    assert message.endswith("Put it there, or name the folder above with --data-dir.")  # it can't be fetched
    with pytest.raises(RequestError, match=r"Get it with `xkeb data fetch bizsre`, or name the folder"):
        get_plugins().datasets.get("bizsre").test(EN_ZH, root)
    assert "--data-dir" in message


def test_a_file_is_looked_for_in_the_folder_named_then_the_environment_s_then_the_cache(
    root: Path, tmp_path: Path
) -> None:
    for i, folder in enumerate((tmp_path / "cache" / "data", tmp_path / "nowhere", root)):
        (folder / "tiny").mkdir(parents=True, exist_ok=True)
        write(folder, [record(alt=f"answer {i}")])
        assert DATA.test(EN_ZH, root).cases[0].edit.target == f"answer {i}"
    assert DATA.test(EN_ZH).cases[0].edit.target == "answer 1"


def test_a_file_that_was_cut_short_says_where(root: Path) -> None:
    path = write(root, [RECORD] * 3)
    path.write_text(path.read_text(encoding="utf-8")[:-60], encoding="utf-8")
    message = problem(root)
    assert message.startswith(f"{path} is not JSON, or was cut short: ")
    assert "line 1, column " in message


def test_a_file_that_was_cut_in_the_middle_of_a_character_was_cut_short_too(root: Path) -> None:
    """A download stops at a byte, and two bytes in three are inside a Chinese character."""
    path = write(root, [RECORD] * 3)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex("意".encode()) + 2])
    assert "cut short" in problem(root)


@pytest.mark.parametrize("content", [b"", b"<html>Quota exceeded</html>", b"{'a': 1}", b"[1, 2"])
def test_what_is_not_json_is_refused(root: Path, content: bytes) -> None:
    path = root / "tiny" / "test.json"
    path.write_bytes(content)
    assert problem(root).startswith(f"{path} is not JSON, or was cut short: ")


def test_what_is_not_utf_8_is_refused(root: Path) -> None:
    path = root / "tiny" / "test.json"
    path.write_bytes(json.dumps([RECORD], ensure_ascii=False).encode("gb18030"))
    assert problem(root).startswith(f"{path} is not UTF-8 text: ")


@pytest.mark.parametrize(
    ("content", "found"),
    [({"en": {}}, "found dict"), ([], "found list (empty)"), ("text", "found str"), (3, "found int")],
)
def test_what_is_no_list_of_records_is_refused(root: Path, content: Any, found: str) -> None:
    path = write(root, content)
    assert problem(root) == f"{path} should hold a list of records; {found}."


def without(*keys: str, of: Record = RECORD) -> Record:
    made = copy.deepcopy(of)
    inner = made
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return made


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        (without("zh"), "field zh is missing"),
        (without("en", "alt"), "field en.alt is missing"),
        (without("zh", "portability"), "field zh.portability is missing"),
        (without("zh", "portability", "New Answer"), "field zh.portability.New Answer is missing"),
        (RECORD | {"zh": None}, "field zh is missing"),
        (record(alt=None), "field en.alt is missing"),
        (record("zh", portability=None), "field zh.portability is missing"),
        (record(alt=7), "field en.alt is wrong: expected text; found int"),
        (record(alt=["Rome"]), "field en.alt is wrong: expected text; found list"),
        (record("zh", src={"a": "b"}), "field zh.src is wrong: expected text; found dict"),
        (RECORD | {"en": "text"}, "field en is wrong: "),
        (record(portability="x"), "field en.portability is wrong: expected an object; found str"),
    ],
)
@pytest.mark.parametrize("index", [0, 2])
def test_another_schema_is_told_by_record_and_field(root: Path, bad: Record, place: str, index: int) -> None:
    records = [copy.deepcopy(RECORD) for _ in range(3)]
    records[index] = bad
    path = write(root, records)
    assert problem(root).startswith(f"{path}: record {index}: {place}")


def test_a_record_that_is_no_object_is_told_by_number(root: Path) -> None:
    path = write(root, [RECORD, "text"])
    assert problem(root) == f"{path}: record 1 should be an object; found str."


def test_keys_that_are_not_known_here_are_let_be(root: Path) -> None:
    write(root, [RECORD | {"relation": "home", "de": {"src": 1}}, record(cond="a >> b", answers=["x"])])
    assert len(DATA.test(EN_ZH, root).cases) == 2


def test_an_answer_that_looks_like_a_date_or_a_number_stays_as_it_is_written(root: Path) -> None:
    dates = ["2006-01-01", "2006-01-01T00:00:00Z", "1989", "007", "1e5", "true", "null"]
    write(root, [record(alt=text) for text in dates])
    assert [case.edit.target for case in DATA.test(EN_ZH, root).cases] == dates
    assert [row["en"]["alt"] for row in read_records(root / "tiny" / "test.json")] == dates


def test_the_hashes_of_registered_files_are_told_where_all_are_stated() -> None:
    assert DATA.registered_hashes(EN_ZH) == frozenset()
    stated = dataclasses.replace(DATA, downloads=(Download("test.json", "https://x", "a" * 64),))
    assert stated.registered_hashes(EN_ZH) == stated.registered_hashes(ZH_EN) == {"a" * 64}
    unstated = dataclasses.replace(DATA, downloads=(Download("test.json", "https://x"),))
    assert unstated.registered_hashes(EN_ZH) == frozenset()
    files = (Download("de.json", "https://x", "a" * 64), Download("ru.json", "https://x"))
    pivoted = ParallelRecords("tiny", ("en", "de", "ru"), "{}.json", downloads=files, pivot="en")
    assert pivoted.registered_hashes(LanguagePair("en", "de")) == {"a" * 64}
    assert pivoted.registered_hashes(LanguagePair("de", "ru")) == frozenset()


def test_the_same_files_have_one_hash_whichever_language_is_edited(root: Path) -> None:
    """So that results of several sources stand in one matrix."""
    for code in ("de", "ru"):
        write(root, [{"en": RECORD["en"], code: record("en", src=f"{code}?")["en"]}], f"{code}.json")
    data = ParallelRecords("tiny", ("en", "de", "ru"), "{}.json", pivot="en")
    sources = ("en", "de", "ru")
    splits = [data.test(Direction(code, tuple(other for other in sources if other != code)), root) for code in sources]
    assert [len(split.cases) for split in splits] == [1, 1, 1]
    assert len({split.sha256 for split in splits}) == 1
    assert splits[0].sha256 != data.test(LanguagePair("en", "de"), root).sha256


def test_a_pair_in_another_language_is_refused(root: Path) -> None:
    write(root, [RECORD])
    with pytest.raises(RequestError, match="Data set 'tiny' is in en, zh; there is no 'de'"):
        DATA.test(LanguagePair("en", "de"), root)


def test_a_training_fact_is_a_case_with_the_probes_it_has(root: Path) -> None:
    write(root, [FACT, FACT | {"rephrase": "", "loc_ans": " "}], "train.json")
    whole, bare = DATA.training("en", root).cases
    assert whole.edit == Edit("Where is Bo?", "Oslo", "en", "Bo")  # nothing of the other language
    assert whole.probes == (
        Probe("generality", "en", "Bo is where?", "Oslo"),
        Probe("locality", "en", "who is it", "him"),
    )
    assert bare.probes == ()


def test_a_training_fact_without_question_or_answer_is_skipped(root: Path) -> None:
    write(root, [FACT | {"src": ""}, FACT, FACT | {"alt": " "}], "train.json")
    loaded = DATA.training("en", root)
    assert [case.id for case in loaded.cases] == ["1"]
    assert loaded.skipped == (Skipped("0", "en: empty src"), Skipped("2", "en: empty alt"))


@pytest.mark.parametrize("first", [0, 1])
def test_a_field_that_only_some_training_facts_have_is_read_where_it_is(root: Path, first: int) -> None:
    """Whichever record comes first: a table whose columns are those of its first row would lose the rest."""
    facts = [{"src": "Where is Cy?", "alt": "Rome"}, FACT]
    write(root, facts[first:] + facts[:first], "train.json")
    cases = DATA.training("en", root).cases
    assert [case.edit.subject for case in cases] == (["", "Bo"] if first == 0 else ["Bo", ""])
    assert [len(case.probes) for case in cases] == ([0, 2] if first == 0 else [2, 0])


def test_null_is_a_field_that_is_not_there(root: Path) -> None:
    nothing = dict.fromkeys(["subject", "rephrase", "loc", "loc_ans", "answers"])
    write(root, [FACT | nothing, FACT], "train.json")
    bare, whole = DATA.training("en", root).cases
    assert (bare.edit, bare.probes) == (Edit("Where is Bo?", "Oslo", "en"), ())
    assert (whole.edit.subject, len(whole.probes)) == ("Bo", 2)
    path = write(root, [FACT, FACT | {"alt": None}], "train.json")
    with pytest.raises(RequestError) as caught:
        DATA.training("en", root)
    assert str(caught.value) == f"{path}: record 1: field alt is missing."


def test_records_are_read_as_they_are_written(root: Path) -> None:
    records = [FACT, {"src": "Where is Cy?", "alt": None}, {"other": [1, {"a": 2.5}]}]
    assert read_records(write(root, records)) == records


def test_a_language_without_training_file_is_refused(root: Path) -> None:
    with pytest.raises(RequestError, match="Data set 'tiny' has no training file in 'zh'"):
        DATA.training("zh", root)


@pytest.mark.parametrize("name", ["bizsre_en2zh", "bizsre_zh2en"])
def test_the_real_test_file_is_637_whole_cases(data_dir: Path, name: str) -> None:
    task = xkeb.load_task(name, data_dir=data_dir)
    assert (len(task), task.test.skipped) == (637, ())
    source, target = task.pair.languages
    expected = Counter({("reliability", source): 1})
    expected.update((name, code) for name in ("generality", "locality", "portability") for code in (source, target))
    for case in task:
        assert Counter((probe.property, probe.language) for probe in case.probes) == expected
        assert all(probe.prompt and probe.reference for probe in case.probes)
        assert not any(probe.prompt.startswith("nq question") for probe in case.probes)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_real_training_file_is_9965_facts_and_35_without_an_answer(data_dir: Path, language: str) -> None:
    loaded = get_plugins().datasets.get("bizsre").training(language, data_dir)
    assert len(loaded.cases) == 9965
    assert Counter(skip.reason for skip in loaded.skipped) == {f"{language}: empty alt": 35}
