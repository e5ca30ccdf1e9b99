"""MzsRE: two languages a file, joined by the English side; and where subjects stand. The small records are our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

import xkeb
import xkeb.cli
from xkeb.data.parallel import ParallelRecords
from xkeb.data.report import check_dataset
from xkeb.errors import NotHereError, RequestError
from xkeb.registry.manager import get_plugins
from xkeb.tasks.task import expand_groups, load_definitions, load_task
from xkeb.types import LanguagePair, Skipped
from xkeb.utils.hashing import digest_file

MZSRE = cast(ParallelRecords, get_plugins().datasets.get("mzsre"))
DE_RU = LanguagePair("de", "ru")
UPSTREAM = {"cs": "cz", "nl": "du"}
"""What upstream calls a language, where it isn't its ISO code."""


def side(subject: str, src: str, alt: str, loc: str = "Q") -> dict[str, Any]:
    portability = {"New Question": f"+ {src}", "New Answer": f"+ {alt}"}
    texts = {"subject": subject, "src": src, "rephrase": f"~ {src}", "alt": alt, "loc": loc, "loc_ans": "A"}
    return {**texts, "portability": portability}


EN = [
    side("Red House", "Who built the Red House?", "Ada", "nq question: why is it red"),
    side("Anna Bell", "What does Anna Bell do?", "law"),
    side("Bo Berg", "Where is Bo Berg?", "Rome"),
]
DE = [
    side("Rotes Haus", "Wer baute das Red House?", "Ada"),
    side("Anna Bell", "Was macht Anna Bell?", "Jura"),
    side("Bo Berg", "Wo ist er?", "Rom"),
]
RU = [
    side("Красный дом", "Кто построил Красный дом?", "Ада"),
    side("Анна Белл", "Чем занимается Анна Белл?", "право"),
    side("Бо Берг", "Где Бо Берг?", "Рим"),
]


def paired(code: str, sides: list[dict[str, Any]], english: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    return [{"en": en, code: other} for en, other in zip(english or EN, sides, strict=True)]


def write(folder: Path, code: str, records: list[dict[str, Any]]) -> Path:
    path = folder / "mzsre" / f"mzsre_test_duplicate_en{code}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """German and Russian, in another order each, and nothing else where data is looked for."""
    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    write(tmp_path, "de", paired("de", DE))
    write(tmp_path, "ru", paired("ru", RU)[::-1])
    return tmp_path


def questions(loaded: Any) -> dict[str, tuple[str, str]]:
    """By case, the edit's question and the target language's."""
    return {case.id: (case.edit.prompt, case.probes[4].prompt) for case in loaded.cases}


def test_two_languages_are_joined_by_their_english_question_and_not_by_place(folder: Path) -> None:
    loaded = MZSRE.test(DE_RU, folder)
    assert questions(loaded) == {
        "0": ("Wer baute das Red House?", "~ Кто построил Красный дом?"),
        "1": ("Was macht Anna Bell?", "~ Чем занимается Анна Белл?"),
        "2": ("Wo ist er?", "~ Где Бо Берг?"),
    }
    assert (loaded.path.name, loaded.skipped) == ("mzsre_test_duplicate_ende.json", ())
    assert {probe.language for case in loaded.cases for probe in case.probes} == {"de", "ru"}
    assert loaded.cases[0].edit.translations == {"de": "Ada", "ru": "Ада"}
    assert loaded.cases[0].edit.questions == {"de": "Wer baute das Red House?", "ru": "Кто построил Красный дом?"}
    assert loaded.cases[0].edit.aliases == ("Red House", "Красный дом")
    back = MZSRE.test(LanguagePair("ru", "de"), folder)
    assert next(iter(questions(back).values())) == (
        "Где Бо Берг?",
        "~ Wo ist er?",
    )  # ids are places in the source's file


def test_a_hash_stands_for_both_files(folder: Path) -> None:
    before = MZSRE.test(DE_RU, folder).sha256
    alone = MZSRE.test(LanguagePair("en", "de"), folder)
    assert alone.sha256 == digest_file(alone.path) == MZSRE.test(LanguagePair("de", "en"), folder).sha256
    assert before not in (alone.sha256, MZSRE.test(LanguagePair("en", "ru"), folder).sha256)
    write(folder, "ru", paired("ru", RU))
    assert MZSRE.test(DE_RU, folder).sha256 != before


def test_a_record_that_one_file_lacks_is_skipped_by_name(folder: Path) -> None:
    path = write(folder, "ru", paired("ru", RU)[1:])
    loaded = MZSRE.test(DE_RU, folder)
    assert list(questions(loaded)) == ["1", "2"]
    assert loaded.skipped == (
        Skipped("0", f"{path.name} has no ru record with the en question 'Who built the Red House?'"),
    )


def test_a_question_asked_twice_can_t_be_joined(folder: Path) -> None:
    path = write(folder, "ru", paired("ru", [*RU, RU[0]], [*EN, EN[0]]))
    with pytest.raises(RequestError, match=r"record 3 asks 'Who built the Red House\?' again") as caught:
        MZSRE.test(DE_RU, folder)
    assert str(path) in str(caught.value)
    assert len(MZSRE.test(LanguagePair("en", "ru"), folder).cases) == 4  # where nothing is joined, it doesn't matter


def test_upstream_s_own_codes_are_read(folder: Path) -> None:
    for code, key in UPSTREAM.items():
        write(folder, key, paired(key, DE))
        assert MZSRE.test(LanguagePair(code, "en"), folder).cases[0].edit.language == code
    assert questions(MZSRE.test(LanguagePair("nl", "ru"), folder))["1"][1] == "~ Чем занимается Анна Белл?"
    write(folder, "cz", paired("cs", DE))
    with pytest.raises(RequestError, match=r"mzsre_test_duplicate_encz\.json: record 0: field cz is missing"):
        MZSRE.test(LanguagePair("en", "cs"), folder)


def test_a_language_whose_file_is_not_there_is_told_with_how_to_get_it(folder: Path) -> None:
    with pytest.raises(NotHereError, match=r"lacks mzsre_test_duplicate_encz.json: .*`xkeb data fetch mzsre`"):
        MZSRE.test(LanguagePair("de", "cs"), folder)
    with pytest.raises(RequestError, match="there is no 'ja'"):
        MZSRE.test(LanguagePair("de", "ja"), folder)


def test_the_english_locality_prefix_is_cut_off(folder: Path) -> None:
    case = MZSRE.test(LanguagePair("en", "de"), folder).cases[0]
    assert [probe.prompt for probe in case.probes if probe.property == "locality"] == ["why is it red", "Q"]


def test_training_facts_are_lines(folder: Path) -> None:
    path = folder / "mzsre" / "zsre_mend_train_de_10000.txt"
    path.write_text("Wo ist Bo? \tOslo\nWer ist Ada?\n\tnie\n", encoding="utf-8")
    loaded = MZSRE.training("de", folder)
    assert [(case.id, case.edit.prompt, case.edit.target, case.probes) for case in loaded.cases] == [
        ("0", "Wo ist Bo?", "Oslo", ())
    ]
    assert loaded.skipped == (Skipped("1", "de: empty alt"), Skipped("2", "de: empty src"))
    path.write_text("Wo ist Bo?\tOslo\nWer?\tAda\tBo\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"_10000\.txt:2: expected a question, a tab and an answer; found 2 tabs\."):
        MZSRE.training("de", folder)


def test_english_training_facts_are_bizsre_s(folder: Path) -> None:
    with pytest.raises(NotHereError, match="xkeb data fetch bizsre"):
        MZSRE.training("en", folder)
    (folder / "bizsre").mkdir()
    facts = [{"subject": "Bo", "src": "Where is Bo?", "rephrase": "Bo?", "alt": "Oslo", "loc": "Q", "loc_ans": "A"}]
    (folder / "bizsre" / "zsre_mend_train_10000.json").write_text(json.dumps(facts))
    (case,) = MZSRE.training("en", folder).cases
    assert [probe.property for probe in case.probes] == ["generality", "locality"]


def test_there_is_a_task_for_each_language_and_direction() -> None:
    others = ["cs", "de", "es", "fr", "nl", "pt", "ru", "th", "tr", "vi", "zh"]
    known = load_definitions()
    assert expand_groups(["mzsre_en2x"], known) == [f"mzsre_en2{code}" for code in others]
    assert expand_groups(["mzsre_x2en"], known) == [f"mzsre_{code}2en" for code in others]
    assert expand_groups(["mzsre"], known) == expand_groups(["mzsre_en2x", "mzsre_x2en"], known)
    for name in [*expand_groups(["mzsre"], known), "mzsre_de2ru"]:
        task = load_task(name)
        source, _, target = name.removeprefix("mzsre_").partition("2")
        assert (task.pair.source, task.pair.targets, task.dataset.name) == (source, (target,), "mzsre")
        assert task.aligned


def test_a_task_looks_further_for_the_subject_and_says_how_it_found_it(folder: Path) -> None:
    task = load_task("mzsre_de2ru", data_dir=folder)
    assert [case.edit.subject for case in task] == ["Red House", "Anna Bell", "Bo Berg"]
    assert task.test.located == {"0": "alias", "1": "exact", "2": None}
    assert [case.edit.subject for case in MZSRE.test(DE_RU, folder).cases] == ["Rotes Haus", "Anna Bell", "Bo Berg"]


def test_the_located_subject_is_where_methods_edit(folder: Path, llama: xkeb.Backbone) -> None:
    """Its last character stands in the token that the backbone names; what isn't found is refused with the reason."""
    edit = load_task("mzsre_de2ru", data_dir=folder).test.cases[0].edit
    last = llama.subject_last(edit)
    encoded = llama.encode(edit.prompt, edit.target, edit.language)
    start, end = encoded.offsets[last]
    assert start < len("Wer baute das Red House") <= end
    lost = load_task("mzsre_de2ru", data_dir=folder).test.cases[2].edit
    refused = xkeb.load_editor("rome", layer=1).unsupported(llama, lost)
    assert refused == "the subject 'Bo Berg' does not stand in the prompt"


def test_data_check_shows_where_subjects_stand(folder: Path) -> None:
    report = check_dataset(MZSRE, folder)
    found = {row.language: ({kind: n for kind, n in row.located.items() if n}, row.nowhere) for row in report.subjects}
    assert found == {
        "en": ({"exact": 3}, 0),
        "de": ({"exact": 1, "alias": 1}, 1),
        "ru": ({"exact": 3}, 0),
    }
    done = CliRunner().invoke(
        xkeb.cli.cli, ["data", "check", "mzsre", "--data-dir", str(folder)], catch_exceptions=False
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["language", "exact", "normalised", "alias", "span", "nowhere"] in lines
    assert ["de", "1", "0", "1", "0", "1"] in lines
    assert "missing: mzsre_test_duplicate_encz.json\n" in done.stdout
    assert "Get it with `xkeb data fetch mzsre`, or name the folder above with --data-dir.\n" in done.stdout


def test_data_check_sees_files_that_ask_other_things(folder: Path) -> None:
    found = [(f.language, f.record) for f in check_dataset(MZSRE, folder).issues if f.kind == "misaligned files"]
    assert found == [
        ("en/ru", 0),
        ("en/ru", 2),
    ]  # the Russian file is written backwards, here, and English is read of the German


def test_data_ls_knows_every_file_s_use(folder: Path) -> None:
    done = CliRunner().invoke(xkeb.cli.cli, ["data", "ls", "--data-dir", str(folder), "--json"], catch_exceptions=False)
    (row,) = (row for row in json.loads(done.stdout) if row["name"] == "mzsre")
    uses = {file["file"]: file["use"] for file in row["files"]}
    assert uses["mzsre_test_duplicate_encz.json"] == "test en/cs"
    assert uses["zsre_mend_train_du_10000.txt"] == "training nl"
    assert len(uses) == 22
    there = {file["file"] for file in row["files"] if file["path"]}
    assert there == {"mzsre_test_duplicate_ende.json", "mzsre_test_duplicate_enru.json"}


def test_its_records_may_come_from_files_of_bizsre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XKEB_DATA_DIR", str(tmp_path))
    paths = MZSRE.paths(tmp_path / "given")
    for root in (tmp_path / "given", tmp_path):
        for file in ("mzsre/mzsre_test_duplicate_ende.json", "mzsre/zsre_mend_train_ru_10000.txt"):
            assert root / file in paths
        assert root / "bizsre" / "zsre_mend_train_10000.json" in paths
    editor = xkeb.load_editor("memit", mom2_corpus="mzsre")
    assert tmp_path / "bizsre" / "zsre_mend_train_10000.json" in editor.reads()


def test_every_file_can_be_fetched_at_a_pinned_place_with_its_hash() -> None:
    assert {download.file for download in MZSRE.downloads} == set(MZSRE.files())
    for download in MZSRE.downloads:
        assert download.sha256 is not None
        assert len(download.sha256) == 64
        assert download.url.startswith("https://raw.githubusercontent.com/")
        assert download.url.endswith(f"/{download.file}")
    assert len({download.sha256 for download in MZSRE.downloads}) == 22
    hashes = {download.file: download.sha256 for download in MZSRE.downloads}
    assert MZSRE.registered_hashes(LanguagePair("cs", "en")) == {hashes["mzsre_test_duplicate_encz.json"]}
    (both,) = MZSRE.registered_hashes(DE_RU)
    assert both not in hashes.values()
    assert MZSRE.registered_hashes(LanguagePair("ru", "de")) == {both}  # the same files, whichever language is edited


def test_what_was_fetched_is_read_as_what_it_is(folder: Path) -> None:
    german = folder / "mzsre" / "mzsre_test_duplicate_ende.json"
    MZSRE.verify("mzsre_test_duplicate_ende.json", german)
    with pytest.raises(RequestError, match="field cz is missing"):
        MZSRE.verify("mzsre_test_duplicate_encz.json", german)
    with pytest.raises(RequestError, match="found 2 tabs"):
        path = folder / "x.txt"
        path.write_text("a\tb\tc\n")
        MZSRE.verify("zsre_mend_train_du_10000.txt", path)
