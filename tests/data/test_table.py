"""A task on one's own data, in YAML alone: CSV, JSONL and what `datasets` loads. No network: the hub is a local folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import xkeb
import xkeb.cli
from xkeb.errors import NotHereError, RequestError
from xkeb.tasks.config import read_definitions
from xkeb.types import Edit, Probe, Skipped
from xkeb.utils.hashing import digest_file

pytest_plugins = ("command_line",)

YAML = """\
task: mine_en2de
version: 1
pair: en-de
dataset:
  format: csv
  path: data/facts.csv
  columns:
    en: {question: q, answer: a, subject: s, rephrase: r, locality_question: lq, locality_answer: la}
    de: {question: q_de, answer: a_de, portability_question: p_de, portability_answer: pa_de}
"""
ROWS = [
    {"q": "Where is Bo?", "a": "Rome", "s": "Bo", "r": "Bo is where?", "lq": "Why?", "la": "So",
     "q_de": "Wo ist Bo?", "a_de": "Rom", "p_de": "In welchem Land?", "pa_de": "Italien"},
    {"q": 'Who is "Ada, B."?', "a": "me", "s": "Ada, B.", "r": "Ada?", "lq": "When?", "la": "2006",
     "q_de": "Wer ist Ada?", "a_de": "ich", "p_de": "Wessen Ich?", "pa_de": "meins"},
]  # fmt: skip
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def as_csv(rows: list[dict[str, Any]]) -> str:
    def cell(value: Any) -> str:
        return '"' + str(value).replace('"', '""') + '"'

    return "\n".join(",".join(map(cell, line)) for line in [list(rows[0]), *(row.values() for row in rows)]) + "\n"


def as_jsonl(rows: list[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def load(folder: Path) -> xkeb.Task:
    return xkeb.load_task("mine_en2de", include=[folder])


def problem(folder: Path) -> str:
    with pytest.raises(RequestError) as caught:
        len(load(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def expected(row: dict[str, Any]) -> tuple[Edit, tuple[Probe, ...]]:
    answers, questions = {"en": row["a"], "de": row["a_de"]}, {"en": row["q"], "de": row["q_de"]}
    edit = Edit(row["q"], row["a"], "en", row["s"], answers, questions)  # no column has the German subject
    return edit, (
        Probe("reliability", "en", row["q"], row["a"]),
        Probe("generality", "en", row["r"], row["a"]),
        Probe("locality", "en", row["lq"], row["la"]),
        Probe("generality", "de", row["q_de"], row["a_de"]),  # there is no rephrase in German, so the question itself
        Probe("portability", "de", row["p_de"], row["pa_de"]),
    )


# datasets 4.4 leaves a CSV file open.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("form", ["csv", "jsonl", "hub", "hub of csv"])
def test_rows_become_cases(write: Write, tmp_path: Path, form: str) -> None:
    files = {"csv": "facts.csv", "jsonl": "facts.jsonl", "hub": "facts/test.jsonl", "hub of csv": "facts/test.csv"}
    path = write(f"data/{files[form]}", as_csv(ROWS) if files[form].endswith("csv") else as_jsonl(ROWS))
    named = "facts" if form.startswith("hub") else files[form]
    text = YAML.replace("format: csv", f"format: {form.split(maxsplit=1)[0]}").replace("facts.csv", named)
    write("mine.yaml", text)
    task = load(tmp_path)
    assert [(case.edit, case.probes) for case in task] == [expected(row) for row in ROWS]
    assert ([case.id for case in task], task.test.skipped) == (["0", "1"], ())
    assert (task.dataset.name, task.dataset.languages) == (named, ("en", "de"))
    before = task.test.sha256
    assert len(before) == 64
    assert form.startswith("hub") or before == digest_file(path)
    assert task.test.sha256 == load(tmp_path).test.sha256
    other = [ROWS[0], ROWS[1] | {"a": "you"}]
    path.write_text(as_csv(other) if files[form].endswith("csv") else as_jsonl(other), encoding="utf-8")
    assert load(tmp_path).test.sha256 != before


def test_the_path_is_taken_from_the_yaml_s_folder_and_columns_may_be_included(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("shared/data/facts.csv", as_csv(ROWS))
    head, _, data = YAML.partition("dataset:")
    write("shared/data.inc", "dataset:" + data)
    write("tasks/mine.yaml", head + "include: ../shared/data.inc\n")
    monkeypatch.chdir("/")
    assert len(load(tmp_path / "tasks")) == 2
    write("elsewhere/b.yaml", YAML.replace("data/facts.csv", str(tmp_path / "shared/data/facts.csv")))
    assert len(load(tmp_path / "elsewhere")) == 2


def test_the_other_direction_is_the_same_file(write: Write, tmp_path: Path) -> None:
    write("data/facts.csv", as_csv(ROWS))
    write("mine.yaml", YAML.replace("pair: en-de", "pair: de-en"))
    edit = load(tmp_path).test.cases[0].edit
    assert (edit.prompt, edit.target, edit.subject, edit.aliases) == ("Wo ist Bo?", "Rom", "", ("Bo",))
    assert edit.translations == {"de": "Rom", "en": "Rome"}
    assert edit.questions == {"de": "Wo ist Bo?", "en": "Where is Bo?"}
    assert [probe.property for probe in load(tmp_path).test.cases[0].probes] == [
        "reliability", "portability", "generality", "locality",
    ]  # fmt: skip


def test_a_row_in_several_languages_keeps_those_that_it_has(write: Write, tmp_path: Path) -> None:
    rows = [ROWS[0] | {"q_fr": "Où est Bo ?", "a_fr": "Rome"}, ROWS[0] | {"q_fr": "Où ?", "a_fr": " "}]
    write("data/facts.csv", as_csv(rows))
    columns = "    fr: {question: q_fr, answer: a_fr}\n    de:"
    write("mine.yaml", YAML.replace("pair: en-de", "source: en\ntargets: [de, fr]").replace("    de:", columns))
    loaded = load(tmp_path).test
    assert [{probe.language for probe in case.probes} for case in loaded.cases] == [{"en", "de", "fr"}, {"en", "de"}]
    assert loaded.cases[0].edit.questions["fr"] == "Où est Bo ?"
    (missing,) = loaded.missing
    assert (missing.case_id, missing.language) == ("1", "fr")
    assert missing.reason.endswith("facts.csv:3: fr: empty answer (column 'a_fr')") and not loaded.skipped


def test_a_family_of_own_data_and_an_alias_for_the_subject(write: Write, tmp_path: Path) -> None:
    """A row's other language gives the name by which a question has the subject."""
    rows = [row | {"s_de": "Bo", "q": "Where is der Bo?", "s": "the Bo"} for row in ROWS[:1]]
    write("data/facts.csv", as_csv(rows))
    text = YAML.replace("mine_en2de", "mine_{source}2{target}").replace("pair: en-de", "pairs: [en-de, de-en]")
    write("mine.yaml", text.replace("question: q_de,", "question: q_de, subject: s_de,") + "subject: aligned\n")
    task = load(tmp_path)
    assert ([case.edit.subject for case in task], task.test.located) == (["Bo"], {"0": "alias"})
    assert [case.edit.aliases for case in task] == [("Bo",)]
    back = xkeb.load_task("mine_de2en", include=[tmp_path])
    assert back.pair.source == "de"
    assert [(case.edit.subject, case.edit.aliases) for case in back] == [("Bo", ("the Bo",))]
    write("data/facts.csv", as_csv([rows[0] | {"s_de": " "}]))
    assert [case.edit.aliases for case in load(tmp_path)] == [()]  # an empty cell is no name


def test_a_spreadsheet_s_byte_order_mark_and_line_ends_are_no_part_of_the_data(write: Write, tmp_path: Path) -> None:
    rows = [ROWS[0] | {"q": "Where is\nBo?"}, ROWS[1]]
    write("data/facts.csv", b"\xef\xbb\xbf" + as_csv(rows).replace("\n", "\r\n").encode() + b"\r\n")
    write("mine.yaml", YAML)
    assert [case.edit.target for case in load(tmp_path)] == ["Rome", "me"]


@pytest.mark.parametrize("sign", ["\u2028", "\x85", "\x0c"])
def test_only_line_ends_end_a_line(write: Write, tmp_path: Path, sign: str) -> None:
    """Python's own `splitlines` knows many more, which stand in texts from the web."""
    row = ROWS[0] | {"q": f"Where is{sign}Bo?", "s": "Bo"}
    unquoted = as_csv([row]).replace('"', "")
    write("data/facts.csv", unquoted)
    write("data/facts.jsonl", as_jsonl([row]))
    write("mine.yaml", YAML)
    (case,) = load(tmp_path)
    assert case.edit.prompt == row["q"]
    write("mine.yaml", YAML.replace("format: csv", "format: jsonl").replace("facts.csv", "facts.jsonl"))
    assert load(tmp_path).test.cases == (case,)


def test_an_empty_question_or_answer_is_skipped_with_file_row_and_column(write: Write, tmp_path: Path) -> None:
    path = write("data/facts.csv", as_csv([ROWS[0], ROWS[1] | {"a_de": "  "}, ROWS[1] | {"q": "", "s": ""}]))
    write("mine.yaml", YAML)
    task = load(tmp_path)
    assert [case.id for case in task] == ["0"]
    assert task.test.skipped == (
        Skipped("1", f"{path}:3: de: empty answer (column 'a_de')"),
        Skipped("2", f"{path}:4: en: empty question (column 'q')"),
    )


@pytest.mark.parametrize(
    ("columns", "unasked"),
    [
        (["s"], None),
        (["r"], ("generality", "en")),
        (["lq"], ("locality", "en")),
        (["la"], ("locality", "en")),
        (["p_de", "pa_de"], ("portability", "de")),
    ],
)
def test_what_has_no_text_is_not_asked_of_a_row(
    write: Write, tmp_path: Path, columns: list[str], unasked: tuple[str, str] | None
) -> None:
    row = ROWS[0] | dict.fromkeys(columns, "")
    write("data/facts.csv", as_csv([row, ROWS[1]]))
    write("mine.yaml", YAML)
    first, second = load(tmp_path)
    edit, probes = expected(row)
    assert first.edit == edit
    assert first.probes == tuple(probe for probe in probes if (probe.property, probe.language) != unasked)
    assert (second.edit, second.probes) == expected(ROWS[1])
    assert load(tmp_path).test.skipped == ()


@pytest.mark.parametrize("linked", [False, True])
def test_a_path_is_told_without_the_way_back_unless_a_link_stands_in_it(
    write: Write, tmp_path: Path, linked: bool
) -> None:
    write("data/facts.csv", as_csv(ROWS))
    write("here/tasks/mine.yaml", YAML.replace("data/facts.csv", "../../data/facts.csv"))
    folder = tmp_path / "here" / "tasks"
    if linked:
        folder = tmp_path / "link"
        folder.symlink_to(tmp_path / "here" / "tasks")
    path = folder / "../../data/facts.csv" if linked else tmp_path / "data" / "facts.csv"
    assert (str(load(folder).test.path), len(load(folder))) == (str(path), 2)


def test_numbers_are_texts_and_null_is_empty(write: Write, tmp_path: Path) -> None:
    path = write("data/facts.jsonl", as_jsonl([ROWS[0] | {"a": 2006, "a_de": 2.5}, ROWS[1] | {"a": None}]) + "\n")
    write("mine.yaml", YAML.replace("format: csv", "format: jsonl").replace("facts.csv", "facts.jsonl"))
    (case,) = load(tmp_path)
    assert case.edit.translations == {"en": "2006", "de": "2.5"}
    assert load(tmp_path).test.skipped == (Skipped("1", f"{path}:2: en: empty answer (column 'a')"),)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("facts.csv", as_csv(ROWS).replace('"a_de"', '"b_de"'), "{path}: Unknown column 'a_de': did you mean '"),
        ("facts.csv", as_csv(ROWS).replace('"a"', '"q"', 1), "{path}:1: two columns are named 'q'."),
        ("facts.csv", as_csv(ROWS) + "x,y\n", "{path}:4: 2 fields; the first row names 10."),
        ("facts.csv", as_csv(ROWS)[:-3], "{path}:3: not CSV: unexpected end of data."),
        ("facts.csv", as_csv(ROWS[:1]).splitlines()[0] + "\n", "{path} holds no rows."),
        ("facts.csv", "", "{path} holds no rows."),
        ("facts.csv", as_csv(ROWS).encode() + "q\né".encode("latin-1"), "{path}:5: not UTF-8 text: "),
        ("facts.jsonl", as_jsonl(ROWS) + "{\n", "{path}:3: not JSON: "),
        ("facts.jsonl", as_jsonl([ROWS[0], [1]]), "{path}:2: expected an object; found list."),
        ("facts.jsonl", as_jsonl([ROWS[0] | {"q": ["x"]}]), "{path}:1: column 'q': expected text; found list."),
        ("facts.jsonl", as_jsonl([ROWS[0] | {"q": True}]), "{path}:1: column 'q': expected text; found bool."),
        ("facts.jsonl", as_jsonl([{"other": "x"}]), "{path}: Unknown column 'q': known: other."),
    ],
)
def test_a_bad_file_is_told_by_row_or_column(
    write: Write, tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = write(f"data/{name}", content)
    form = "csv" if name.endswith(".csv") else "jsonl"
    write("mine.yaml", YAML.replace("format: csv", f"format: {form}").replace("facts.csv", name))
    assert problem(tmp_path).startswith(message.format(path=path))


ALIASED = YAML.replace("answer: a,", "answer: a, answer_aliases: also,").replace(
    "portability_answer: pa_de", "portability_answer: pa_de, portability_aliases: p_also"
)


def aliases(task: xkeb.Task) -> list[dict[tuple[str, str], tuple[str, ...]]]:
    """Of each case, by property and language, those that there are."""
    return [{(p.property, p.language): p.aliases for p in case.probes if p.aliases} for case in task]


def test_an_answer_may_have_aliases(write: Write, tmp_path: Path) -> None:
    """In CSV with | between them; in JSON likewise, or a list. An edit has none: it teaches the answer itself."""
    also = [{"also": "Roma | Rome| |the Eternal City|Roma", "p_also": ""}, {"also": "", "p_also": "mein"}]
    rows: list[dict[str, Any]] = [row | more for row, more in zip(ROWS, also, strict=True)]
    write("data/facts.csv", as_csv(rows))
    write("mine.yaml", ALIASED)
    roman = ("Roma", "the Eternal City")  # the answer itself, an empty part and a repeated one left out
    expected = [
        {("reliability", "en"): roman, ("generality", "en"): roman},
        {("portability", "de"): ("mein",)},
    ]
    assert aliases(load(tmp_path)) == expected
    rows = [rows[0] | {"also": ["Roma", "the Eternal City", "Rome"]}, rows[1] | {"also": None, "p_also": ["mein"]}]
    write("data/facts.jsonl", as_jsonl(rows))
    write("mine.yaml", ALIASED.replace("format: csv", "format: jsonl").replace("facts.csv", "facts.jsonl"))
    assert aliases(load(tmp_path)) == expected
    write("data/facts.jsonl", as_jsonl([row | {"also": [2006], "p_also": None} for row in ROWS]))
    assert aliases(load(tmp_path))[0]["reliability", "en"] == ("2006",)


@pytest.mark.parametrize("cell", [3, True, {"a": "b"}, ["x", None], [["x"]]])
def test_aliases_of_another_kind_are_told_by_row_and_column(write: Write, tmp_path: Path, cell: Any) -> None:
    path = write("data/facts.jsonl", as_jsonl([ROWS[0] | {"also": "Roma", "p_also": cell}]))
    write("mine.yaml", ALIASED.replace("format: csv", "format: jsonl").replace("facts.csv", "facts.jsonl"))
    place = f"{path}:1: column 'p_also': expected a list of texts, or one text with | between them."
    assert problem(tmp_path) == place


def test_a_column_of_aliases_that_is_not_there_is_told(write: Write, tmp_path: Path) -> None:
    path = write("data/facts.csv", as_csv(ROWS))
    write("mine.yaml", ALIASED)
    assert problem(tmp_path).startswith(f"{path}: Unknown column 'also': ")


def test_a_file_that_is_not_there_is_named(write: Write, tmp_path: Path) -> None:
    write("mine.yaml", YAML)
    with pytest.raises(NotHereError, match=f"There is no file {tmp_path / 'data' / 'facts.csv'}, which the task's"):
        len(load(tmp_path))


def test_what_datasets_says_of_a_hub_folder_is_passed_on(write: Write, tmp_path: Path) -> None:
    write("data/facts/train.jsonl", as_jsonl(ROWS))
    hub = YAML.replace("format: csv", "format: hub").replace("facts.csv", "facts")
    write("mine.yaml", hub)
    assert problem(tmp_path).startswith(f"`datasets` can't load the split 'test' of {tmp_path / 'data' / 'facts'}: ")
    write("mine.yaml", hub.replace("  columns", "  split: train\n  columns"))
    assert len(load(tmp_path)) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format: csv", "format: xml", ":5: dataset.format: Input should be 'csv', 'jsonl' or 'hub'."),
        ("  path: data/facts.csv\n", "", ":4: dataset.path: Field required."),
        ("path: data", "paht: data", ":6: dataset.paht: Unknown key 'paht': did you mean 'path'?"),
        ("question: q_de", "qestion: q_de", ":9: dataset.columns.de.qestion: Unknown key 'qestion': did you mean 'question'?"),
        ("question: q_de, ", "", ":9: dataset.columns.de.question: Field required."),
        ("pa_de}", "[x]}", ":9: dataset.columns.de.portability_answer: Input should be a valid string."),
        (", portability_answer: pa_de", "",
         ":9: dataset.columns.de: portability_question and portability_answer belong together."),
        ("pair: en-de", "pair: en-fr", ":7: dataset.columns: no columns for 'fr'."),
        (YAML[YAML.index("dataset:") :], "dataset: 5\n", ":4: dataset: Input should be a valid string."),
        ("    de: {", "    it: {", ":7: dataset.columns: no columns for 'de'."),
    ],
)  # fmt: skip
def test_a_mistake_in_the_yaml_is_told_by_its_line(write: Write, old: str, new: str, message: str) -> None:
    assert old in YAML
    path = write("mine.yaml", YAML.replace(old, new))
    with pytest.raises(RequestError) as caught:
        read_definitions(path)
    assert str(caught.value) == f"{path}{message}"


def test_training_facts_come_from_a_file_of_the_same_columns(write: Write, tmp_path: Path) -> None:
    write("data/facts.csv", as_csv(ROWS))
    rows = [{"q": f"Where is {n}?", "a": "" if n == 3 else "Rome", "r": "again?"} for n in range(4)]
    path = write("data/train.csv", as_csv(rows))
    write("mine.yaml", YAML.replace("  columns", "  training: data/train.csv\n  columns"))
    training = load(tmp_path).training
    assert [case.edit.prompt for case in training.cases] == ["Where is 0?", "Where is 1?", "Where is 2?"]
    assert [probe.property for probe in training.cases[0].probes] == ["generality"]
    assert training.skipped == (Skipped("3", f"{path}:5: en: empty answer (column 'a')"),)
    write("mine.yaml", YAML)
    with pytest.raises(
        RequestError, match=r"'facts.csv' has no training facts: name them in the task's dataset.training"
    ):
        _ = load(tmp_path).training


def test_such_a_task_runs_and_its_result_names_the_file(
    write: Write, tmp_path: Path, tiny_folders: dict[str, Path]
) -> None:
    path = write("tasks/data/facts.csv", as_csv([*ROWS, ROWS[0] | {"a": ""}, ROWS[0] | {"s": "", "lq": ""}]))
    write("tasks/mine.yaml", YAML + "subject: aligned\n")
    done = CliRunner().invoke(
        xkeb.cli.cli,
        ["run", "--tasks", "mine_en2de", "--include-path", str(tmp_path / "tasks"), "--model", "hf", "--model-args",
         f"path={tiny_folders['llama']}", "--methods", "ft,rome", "--method-args", "ft.steps=1,rome.steps=1",
         "--output", str(tmp_path / "out")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    told = "mine_en2de: subjects in their questions: 2 exact, 0 normalised, 0 alias, 0 span, 1 nowhere."
    assert told in done.output.splitlines()
    result = json.loads((tmp_path / "out/mine_en2de/llama/ft/result.json").read_text(encoding="utf-8"))
    assert result["task"]["dataset"] == {"name": "facts.csv", "sha256": digest_file(path), "n_cases": 3}
    assert result["scores"]["locality"]["en"]["f1"]["n"] == 2
    assert {(kind, code) for kind, by in result["scores"].items() for code in by} == {
        ("reliability", "en"), ("generality", "en"), ("generality", "de"), ("locality", "en"), ("portability", "de"),
    }  # fmt: skip
    unanswered = {"case_id": "2", "reason": f"{path}:4: en: empty answer (column 'a')"}
    assert result["skipped"] == [unanswered]
    result = json.loads((tmp_path / "out/mine_en2de/llama/rome/result.json").read_text(encoding="utf-8"))
    refused = {"case_id": "3", "reason": "it has no subject, whose place in the question this method needs"}
    assert sorted(result["skipped"], key=lambda skip: skip["case_id"]) == [unanswered, refused]


LABELLED = YAML + "  labels: {relation: kind}\n"


def test_a_label_may_be_what_no_folder_could_be_called(
    write: Write, tmp_path: Path, xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path]
) -> None:
    labels = ("capital / seat of government", "می\u200cشود\u00a0\\")
    write("data/facts.csv", as_csv([row | {"kind": label} for row, label in zip(ROWS, labels, strict=True)]))
    write("mine.yaml", LABELLED)
    done = xkeb_cli(
        "run", "--tasks", "mine_en2de", "--include-path", tmp_path, "--model", "hf", "--model-args",
        f"path={tiny_folders['llama']}", "--methods", "ft", "--method-args", "ft.steps=1", "--output", tmp_path / "out",
    )  # fmt: skip
    assert done.status == 0, done.err
    result = json.loads((tmp_path / "out/mine_en2de/llama/ft/result.json").read_text(encoding="utf-8"))
    assert {f"relation={label}" for label in labels} <= set(result["slices"])
    for label in labels:
        shown = xkeb_cli("show", tmp_path / "out", "--slice", f"relation={label}")
        assert shown.status == 0 and f"relation={label}" in shown.out, shown.err
    checked = xkeb_cli("leaderboard", "check", tmp_path / "out")
    assert checked.status == 0, checked.out
    built = xkeb_cli("leaderboard", "build", "--results", tmp_path / "out", "--output", tmp_path / "site")
    assert built.status == 0, built.err


@pytest.mark.parametrize("label", ["w" * 201, "a\nb", "a\x1b[31mb", "\u202ea"], ids=ascii)
def test_a_label_that_is_no_line_is_refused_with_its_record(write: Write, tmp_path: Path, label: str) -> None:
    rows = [row | {"kind": kind} for row, kind in zip(ROWS, ("capital", label), strict=True)]
    path = write("data/facts.csv", as_csv(rows))
    write("mine.yaml", LABELLED)
    assert problem(tmp_path).startswith(f"{path}: case '1' can't have the label ")


def test_a_table_of_one_language_has_all_its_rows(write: Write) -> None:
    write("data/facts.csv", as_csv(ROWS))
    own = YAML.replace("pair: en-de", "source: en\ntargets: []").partition("    de:")[0]
    task = xkeb.load_task("mine_en2de", include=[write("mine.yaml", own).parent])
    assert [case.edit.target for case in task] == ["Rome", "me"]
    assert [probe.property for probe in next(iter(task)).probes] == ["reliability", "generality", "locality"]
    assert task.pair.languages == ("en",)
