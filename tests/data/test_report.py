"""`xkeb.data.report` and ``xkeb data check``: each kind of dirt once, and the real files where they are at hand."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import xkeb.cli
from xkeb.data.dataset import Dataset, Split
from xkeb.data.parallel import ParallelRecords
from xkeb.data.quality import COUNTED, ISSUE_KINDS, words_and_signs
from xkeb.data.report import check_dataset
from xkeb.errors import RequestError
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.types import Direction
from xkeb.utils.paths import data_roots

DATA = ParallelRecords(
    "tiny",
    ("en", "zh"),
    "test.json",
    training_files={"en": "train.json", "zh": "train_chinese.json"},
    validation_files={"en": "eval.json", "zh": "eval_chinese.json"},
)


def side(subject: str, src: str, rephrase: str, alt: str, loc: str, question: str) -> dict[str, Any]:
    portability = {"New Question": question, "New Answer": "42"}
    texts = {"subject": subject, "src": src, "rephrase": rephrase, "alt": alt, "loc": loc, "loc_ans": "x"}
    return {**texts, "portability": portability}


CLEAN = {
    "en": side("Ada", "Where does Ada live?", "Ada lives where?", "Rome", "why is it red", "Is Ada warm?"),
    "zh": side("艾达", "艾达住在哪里？", "艾达住哪？", "罗马", "为什么是红的", "艾达暖和吗？"),
}


def record(n: int, language: str = "en", **changes: Any) -> dict[str, Any]:
    """A clean record of its own, but for the changes in one language."""
    made = copy.deepcopy(CLEAN)
    for code in made:
        made[code]["src"] = made[code]["src"].replace("live", f"live {n}").replace("住在", f"住在{n}")
    if "question" in changes:
        changes["portability"] = {"New Question": changes.pop("question"), "New Answer": "42"}
    made[language] |= changes
    return made


TEST = [
    record(0),
    record(1, alt=" "),
    record(2, loc="nq question: why is it green"),
    record(3, loc="nq question: "),
    record(4, language="zh", alt="ROME "),
    record(5, question="Is Rome, where Ada lives, warm?"),
    record(6, question="Does Ada like Romeo?"),
    record(7, language="zh", question="艾达住的罗马暖和吗？"),
    record(0),
    record(9, subject="Bo", loc="where does Ada live 5?"),
    record(10, rephrase="where does ada live 10?"),
    record(11, language="zh", subject=""),
    record(12, language="zh", subject="Ada", src="where does Ada live 12?"),
]
TRAIN = [
    {"subject": "Bo", "src": f"Where is Bo {n}?", "rephrase": "Bo?", "alt": "Oslo", "loc": "Q", "loc_ans": "A"}
    for n in range(3)
]
EXPECTED = {
    ("empty field", "test", "en", "alt", 1),
    ("empty field", "test", "en", "loc", 3),
    ("empty field", "test", "zh", "subject", 11),
    ("same answer", "test", "en/zh", "alt", 4),
    ("same question", "test", "en/zh", "src", 12),
    ("answer in portability question", "test", "en", "portability question", 5),
    ("answer in portability question", "test", "zh", "portability question", 7),
    ("duplicate question", "test", "en", "src", 8),
    ("duplicate question", "test", "zh", "src", 8),
    ("subject not in prompt", "test", "en", "subject", 9),
    ("rephrase equals question", "test", "en", "rephrase", 10),
    ("locality question of a fact", "test", "en", "loc", 9),
    ("true answer as target", "training", "en", "alt", 1),
    ("misaligned files", "training", "en/zh", "", None),
}
ONLY_COUNTED = {("locality prefix", "test", "en", "loc"): 2, ("absent field", "training", "zh", "subject"): 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data directory with a dirty test file, misaligned training files, and no validation file."""
    english = [fact | {"answers": ["oslo" if n == 1 else "Rome"]} for n, fact in enumerate(TRAIN)]
    chinese = [{key: text for key, text in fact.items() if key != "subject"} for fact in TRAIN[:2]]
    for name, records in {"test": TEST, "train": english, "train_chinese": chinese}.items():
        path = tmp_path / "tiny" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(records), encoding="utf-8")
    return tmp_path


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(get_plugins().datasets.entries, "tiny", Entry(DATA, "this test"))


def lacks(folder: Path | None) -> str:
    """What is said of a file that is missing of a data set that can't be fetched."""
    places = ", ".join(str(root / "tiny") for root in data_roots(folder))
    return (
        f"Data set 'tiny' lacks eval.json: looked in {places}. Put it there, or name the folder above with --data-dir."
    )


def run(*arguments: str) -> str:
    result = CliRunner().invoke(xkeb.cli.cli, ["data", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_each_kind_of_dirt_is_found_once(folder: Path) -> None:
    report = check_dataset(DATA, folder)
    assert {(f.kind, f.split, f.language, f.field, f.record) for f in report.issues} == EXPECTED
    assert len(report.issues) == len(EXPECTED)
    counted = {(t.kind, t.split, t.language, t.field): t.records for t in report.counts}
    listed = Counter(issue[:4] for issue in EXPECTED)
    assert counted == {**listed, **ONLY_COUNTED}
    only_several_files = {"unequal sides", "absent language"}
    assert {kind for kind, *_ in counted} == set(ISSUE_KINDS) - only_several_files
    assert {kind for kind, *_ in ONLY_COUNTED} == set(COUNTED)
    assert report.missing == ("eval.json", "eval_chinese.json")


def test_details_say_what_is_wrong(folder: Path) -> None:
    details = {(f.kind, f.language): f.detail for f in check_dataset(DATA, folder).issues}
    assert details["duplicate question", "en"] == "as record 0: 'Where does Ada live 0?'"
    assert details["misaligned files", "en/zh"] == "train.json has 3 records, train_chinese.json 2"
    assert details["subject not in prompt", "en"] == "'Bo' not in 'Where does Ada live 9?'"


def test_a_clean_file_is_clean(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/test.json").write_text(json.dumps([record(0), record(1)]))
    report = check_dataset(DATA, tmp_path)
    assert (report.issues, report.counts) == ((), ())
    assert [(row.split, row.language, row.examples) for row in report.statistics] == [
        ("test", "en", 2),
        ("test", "zh", 2),
    ]


def test_aligned_training_files_may_share_answers(folder: Path) -> None:
    (folder / "tiny/train_chinese.json").write_text(json.dumps(TRAIN))
    kinds = {issue.kind for issue in check_dataset(DATA, folder).issues if issue.split == "training"}
    assert kinds == {"true answer as target"}


def test_lengths(folder: Path) -> None:
    rows = {(row.split, row.language): row for row in check_dataset(DATA, folder).statistics}
    assert list(rows) == [("training", "en"), ("training", "zh"), ("test", "en"), ("test", "zh")]
    training = rows["training", "en"]
    assert training.examples == 3
    assert training.lengths["src"] == 5  # Where is Bo 0 ?
    assert training.lengths["rephrase"] == 2
    assert training.lengths["portability question"] is None
    assert rows["test", "en"].lengths["alt"] == pytest.approx(12 / 13)  # an empty one counts as 0
    assert (training.published_examples, training.published_lengths) == (None, {})


def test_another_way_of_counting(folder: Path) -> None:
    assert check_dataset(DATA, folder, count=len).statistics[0].lengths["src"] == len("Where is Bo 0?")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What's up?", ["What", "'", "s", "up", "?"]),
        ("IAAF综合于2006年。", ["IAAF", "综", "合", "于", "2006", "年", "。"]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("人々𠀀a_1", ["人", "々", "𠀀", "a_1"]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words_and_signs(text) == expected


def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path))
    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    with pytest.raises(RequestError, match=r"lacks test\.json: looked in"):
        check_dataset(DATA, tmp_path)


def test_a_data_set_without_texts_is_refused() -> None:
    """Whatever its schema: a data set is checked by the texts that it gives."""

    class Silent(Dataset):
        name = "silent"

        def test(self, pair: Direction, data_dir: Path | None = None) -> Split:
            raise NotImplementedError

        def training(self, language: str, data_dir: Path | None = None) -> Split:
            raise NotImplementedError

    sentence = "Data set 'silent' doesn't say what its texts are (Dataset.texts), so it can't be checked."
    with pytest.raises(RequestError, match=f"^{re.escape(sentence)}$"):
        check_dataset(Silent())


def test_null_is_an_absent_field(folder: Path) -> None:
    facts: list[dict[str, Any]] = [TRAIN[0], TRAIN[1] | {"subject": None, "loc": None}, TRAIN[2] | {"loc_ans": ""}]
    (folder / "tiny/train.json").write_text(json.dumps(facts))
    counts = {
        (count.kind, count.field): count.records
        for count in check_dataset(DATA, folder).counts
        if (count.split, count.language) == ("training", "en")
    }
    assert counts == {("absent field", "subject"): 1, ("absent field", "loc"): 1, ("empty field", "loc_ans"): 1}


def test_the_command_as_json(registered: None, folder: Path) -> None:
    report = json.loads(run("check", "tiny", "--data-dir", str(folder), "--json"))
    assert {(f["kind"], f["split"], f["language"], f["field"], f["record"]) for f in report["issues"]} == EXPECTED
    assert report["statistics"][0]["path"] == str(folder / "tiny/train.json")
    assert report["counted_by"].startswith("words and signs")
    assert report["missing"] == ["eval.json", "eval_chinese.json"]


def test_the_command_summarises_long_lists(registered: None, folder: Path) -> None:
    path = folder / "tiny/test.json"
    path.write_text(json.dumps([record(n, alt="") for n in range(9)]))
    short = run("check", "tiny", "--data-dir", str(folder))
    assert "  test en alt: 9 of 9\n" in short
    assert "    record 4\n    and 4 more (--all)\n" in short
    assert "record 8" not in short
    full = run("check", "tiny", "--data-dir", str(folder), "--all")
    assert "    record 8\n" in full
    assert "--all" not in full
    assert f"missing: eval.json\nmissing: eval_chinese.json\n{lacks(folder)}\n" in full


def test_the_command_counts_with_a_tokenizer(registered: None, folder: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    characters = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    characters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    characters.post_processor = processors.TemplateProcessing("? $A", special_tokens=[("?", 0)])  # not to be counted
    PreTrainedTokenizerFast(tokenizer_object=characters, unk_token="?").save_pretrained(tmp_path / "characters")
    output = run("check", "tiny", "--data-dir", str(folder), "--json", "--tokenizer", str(tmp_path / "characters"))
    assert json.loads(output)["statistics"][0]["lengths"]["src"] == len("Where is Bo 0?")
    nowhere = str(tmp_path / "nowhere")
    refused = CliRunner().invoke(
        xkeb.cli.cli, ["data", "check", "tiny", "--data-dir", str(folder), "--tokenizer", nowhere]
    )
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"xkeb: No tokenizer can be loaded from {nowhere!r}: ")


def test_listing(registered: None, folder: Path) -> None:
    output = run("ls", "--data-dir", str(folder))
    line = next(line for line in output.splitlines() if line.startswith("tiny"))
    assert line.split()[:4] == ["tiny", "en,", "zh", "test.json"]
    assert ["eval.json", "missing"] in [line.split() for line in output.splitlines()]
    rows = {row["name"]: row for row in json.loads(run("ls", "--data-dir", str(folder), "--json"))}
    assert [file["use"] for file in rows["tiny"]["files"]] == [
        "test",
        "training en",
        "training zh",
        "validation en",
        "validation zh",
    ]
    assert rows["tiny"]["looked_in"][0] == str(folder / "tiny")
    assert all(file["path"] for file in rows["bizsre_mini"]["files"])
    assert lacks(folder) in output.splitlines()
    assert rows["tiny"]["problem"] == lacks(folder)


def test_the_doctor_counts_the_files(
    registered: None, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XKEB_DATA_DIR", str(folder))
    lines = CliRunner().invoke(xkeb.cli.cli, ["doctor"]).stdout.splitlines()
    assert f"note   tiny: 3 of 5 files. {lacks(None)}" in lines
    for name in ("eval", "eval_chinese"):
        (folder / "tiny" / f"{name}.json").touch()
    lines = CliRunner().invoke(xkeb.cli.cli, ["doctor"]).stdout.splitlines()
    assert f"ok     tiny: 5 of 5 files in {folder / 'tiny'}" in lines


def test_the_shipped_set_has_nothing_that_would_be_skipped() -> None:
    report = check_dataset(get_plugins().datasets.get("bizsre_mini"))
    kinds = {count.kind for count in report.counts}
    assert not kinds & {
        "empty field",
        "absent field",
        "misaligned files",
        "duplicate question",
        "subject not in prompt",
    }


def test_importing_the_command_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, xkeb.cli.commands.data; sys.exit(','.join({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


REAL = Path(os.environ.get("XKEB_DATA_DIR", "")) / "bizsre"


@pytest.mark.skipif(
    not (os.environ.get("XKEB_DATA_DIR") and (REAL / "zsre_mend_train_10000_chinese.json").is_file()),
    reason="the upstream files are not at hand: set XKEB_DATA_DIR",
)
def test_the_upstream_files() -> None:
    report = check_dataset(get_plugins().datasets.get("bizsre"))
    rows = {(row.split, row.language): row for row in report.statistics}
    counts = {(t.split, t.language, t.kind, t.field): t.records for t in report.counts}
    assert rows["training", "en"].examples == rows["training", "zh"].examples == 10_000
    lengths = [rows["training", "en"].lengths[name] for name in ("src", "rephrase", "alt", "loc", "loc_ans")]
    assert lengths == pytest.approx([9.16, 9.15, 1.95, 13.25, 4.33], abs=0.005)
    assert rows["training", "en"].published_lengths["loc"] == 15.25
    assert rows["training", "zh"].lengths["alt"] == pytest.approx(4.10, abs=0.005)
    for language in ("en", "zh"):
        assert counts["training", language, "empty field", "alt"] == 35
    assert counts["training", "en", "locality prefix", "loc"] == 10_000
    assert counts["training", "en", "true answer as target", "alt"] == 246
    assert ("training", "en", "subject not in prompt", "subject") not in counts
    assert not any(t.kind == "misaligned files" for t in report.counts)
    if rows["test", "en"].examples != 637:
        return  # the counts below are those of the first 637 of 1,037 records
    test = {(language, kind): n for (split, language, kind, _), n in counts.items() if split == "test"}
    assert test == {
        ("en", "locality prefix"): 637,
        ("en/zh", "same answer"): 59,
        ("en", "answer in portability question"): 178,
        ("zh", "answer in portability question"): 176,
        ("zh", "duplicate question"): 43,
    }
    repeated = [f.detail for f in report.issues if (f.split, f.kind) == ("test", "duplicate question")]
    assert len({detail.partition(":")[0] for detail in repeated}) == 34  # questions that occur more than once
