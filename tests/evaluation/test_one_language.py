"""Edits made and asked in one language alone: what a run stores, and what every reader makes of it. The records are our own."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from mzsre_files import side, write_test
from rich.cells import cell_len
from site_pages import Page
from small_jobs import FT, lines, make_config, run_jobs
from terminal import CONTROL

from xkeb.cli.score_table import show_table
from xkeb.errors import RequestError
from xkeb.evaluation.planning import plan_run
from xkeb.leaderboard.plotting import plot
from xkeb.leaderboard.site.build import build_site
from xkeb.leaderboard.verify.check import check_result
from xkeb.leaderboard.verify.source import Sources
from xkeb.leaderboard.verify.submission import prepare_submission
from xkeb.models.backbone import Backbone
from xkeb.results.result import Result
from xkeb.tasks.task import load_task

pytest_plugins = ("command_line",)
Json = dict[str, Any]
TASK, N = "locft_zsre", 5
SEQUENCE = f"sequential:{N}@after_all"
OPTIONS: Json = {**FT, "rome.layer": 1, "rome.steps": 3, "rome.mom2_samples": 10}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LocFT's form of ZsRE, and a pair to stand beside it."""
    folder = tmp_path_factory.mktemp("one")
    records = [{key: text for key, text in side("en", i).items() if key != "portability"} for i in range(N)]
    (folder / "locft").mkdir()
    (folder / "locft" / "zsre_3k.json").write_text(json.dumps(records), encoding="utf-8")
    write_test(folder, "de")
    return folder


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def results(data: Path, output: Path, llama: Backbone, tiny_folders: dict[str, Path]) -> dict[tuple[str, str], Result]:
    """By regime and method."""
    config = {"tasks": [TASK], "method_args": OPTIONS, "data_dir": data, "limit": None, "batch_size": 4}
    single, _ = run_jobs(llama, make_config(tiny_folders, output, ["ft", "rome"], **config))
    config["method_args"] = FT
    many: list[Result] = []
    for point in ("after_all", "after_each"):
        regime = {"regime": f"sequential:{N}", "evaluate": point, "damage": point == "after_all"}
        many += run_jobs(llama, make_config(tiny_folders, output, ["ft"], **config, **regime))[0]
    return {(result.regime, result.method.name): result for result in (*single, *many)}


def folder_of(output: Path, result: Result) -> Path:
    suffix = {"single": "", SEQUENCE: f"-sequential-{N}"}.get(result.regime, f"-sequential-{N}-after_each")
    return output / TASK / result.model.name / f"{result.method.name}{suffix}"


@pytest.fixture
def single(results: dict[tuple[str, str], Result], output: Path) -> Path:
    return folder_of(output, results["single", "ft"])


def test_a_result_says_that_it_has_no_targets(results: dict[tuple[str, str], Result], single: Path) -> None:
    stored = json.loads((single / "result.json").read_text(encoding="utf-8"))
    assert {key: stored["task"][key] for key in ("name", "source", "targets")} == {
        "name": TASK, "source": "en", "targets": [],
    }  # fmt: skip
    assert not {"crossing", "missing"} & stored.keys() and "target" not in stored["task"]
    assert stored["comparable_group"].startswith(f"{TASK}@1:") and stored["comparable_group"].endswith("/single/f1+em")
    asked = {name: list(languages) for name, languages in stored["scores"].items()}
    assert asked == {name: ["en"] for name in ("reliability", "generality", "locality")}
    assert {name.partition("=")[0] for name in stored["slices"]} == {
        "digit"
    }  # no answer in another language to differ from
    assert Result.load(single / "result.json") == results["single", "ft"]
    cases = lines(single / "cases.jsonl")
    assert [len(case["probes"]) for case in cases] == [3] * N
    assert sum(probe["before"] != probe["after"] for case in cases for probe in case["probes"]) > N


def test_a_table_fits_a_terminal_and_a_pipe(
    results: dict[tuple[str, str], Result], output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    both = [results["single", method] for method in ("ft", "rome")]
    show_table(both, output)
    header, *rows = csv.reader(capsys.readouterr().out.splitlines(), delimiter="\t")
    where = [name.rsplit(".", 1)[0] for name in header[9:]]
    assert list(dict.fromkeys(where)) == ["reliability.en", "generality.en", "locality.en"]
    assert [row[:7] for row in rows][::2] == [
        [TASK, both[0].model.name, "teacher_forcing", "plain", "en", method, "before"] for method in ("ft", "rome")
    ]
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    show_table(both, output)
    shown = CONTROL.sub("", capsys.readouterr().out).splitlines()
    assert max(map(cell_len, shown)) <= 80
    assert shown[0] == f"{both[0].model.name}, teacher forcing, f1 / em, edited in English: all {N} cases"
    score = both[0].scores["generality"]["en"]
    (row,) = [line for line in shown if line.startswith("ft ")]
    assert f" {score['f1'].mean:.2f} / {score['em'].mean:.2f} " in row


def test_show_tells_nothing_of_another_language(single: Path, xkeb_cli: Any) -> None:
    shown = xkeb_cli("show", single)
    assert (
        "fixed: wrong before the edit" in shown.out and "crossed" not in shown.out and "wrong-language" not in shown.out
    )
    assert json.loads(xkeb_cli("show", single, "--json").out)["counts"].keys() == {"fixed", "broken"}
    refused = xkeb_cli("show", single, "--only", "crossed")
    said = f"xkeb: {single / 'result.json'} is of one language, en, so that no question of it is crossed.\n"
    assert (refused.status, refused.err) == (2, said)


def test_results_are_compared_in_it(results: dict[tuple[str, str], Result], output: Path, xkeb_cli: Any) -> None:
    paths = [folder_of(output, results["single", method]) for method in ("ft", "rome")]
    told = json.loads(xkeb_cli("compare", *paths, "--json", "--metrics", "f1").out)
    assert [(row["property"], row["language"], row["pairs"]) for row in told["rows"]] == [
        (name, "en", N) for name in ("reliability", "generality", "locality")
    ]
    means = results["single", "ft"].scores, results["single", "rome"].scores
    differences = [row["difference"] for row in told["rows"]]
    assert differences == pytest.approx([
        means[1][name]["en"]["f1"].mean - means[0][name]["en"]["f1"].mean
        for name in ("reliability", "generality", "locality")
    ])  # fmt: skip
    paths = [folder_of(output, results[regime, "ft"]) for regime in ("single", SEQUENCE)]
    gap = json.loads(xkeb_cli("compare", *paths, "--across", "regime", "--json").out)
    assert {row["language"] for row in gap["parts"][0]["rows"]} == {"en"}


def test_every_result_passes_the_check_and_a_changed_one_does_not(
    results: dict[tuple[str, str], Result], output: Path, data: Path, tmp_path: Path
) -> None:
    for result in results.values():
        assert check_result(folder_of(output, result) / "result.json", Sources(data)).problems == ()
    folder = Path(shutil.copytree(folder_of(output, results["single", "ft"]), tmp_path / "forged"))
    stored = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    for change, problem in (
        ({"targets": ["de"]}, "task should have a target instead of one of targets"),
        ({"targets": ["de", "ru"]}, f"task '{TASK}' has the pair 'en' here, not 'en-de+ru'."),
        ({"crossing": {}}, "crossing is stated where a task has no target."),
    ):
        changed = {**stored, **{key: value for key, value in change.items() if key == "crossing"}}
        changed["task"] = {**stored["task"], **{key: value for key, value in change.items() if key == "targets"}}
        (folder / "result.json").write_text(json.dumps(changed), encoding="utf-8")
        problems = check_result(folder / "result.json", Sources(data)).problems
        assert any(problem in one for one in problems), problems


def test_a_case_may_not_leave_out_what_others_are_asked(single: Path, data: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(single, tmp_path / "forged"))
    cases = lines(folder / "cases.jsonl")
    cases[2]["probes"] = [probe for probe in cases[2]["probes"] if probe["property"] != "locality"]
    (folder / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases), encoding="utf-8")
    problems = check_result(folder / "result.json", Sources(data)).problems
    assert "case '2': has 0 probes of locality in 'en'; there should be one." in problems


def test_scores_are_made_again_and_handed_in(single: Path, data: Path, tmp_path: Path, xkeb_cli: Any) -> None:
    outcome = xkeb_cli("rescore", single, "--metrics", "f1,em,exact", "--output", tmp_path / "again")
    assert outcome.status == 0, outcome.err
    (path,) = (tmp_path / "again").rglob("result.json")
    again = Result.load(path)
    assert (again.task.targets, list(again.scores["generality"])) == ([], ["en"])
    (one,) = prepare_submission([single], tmp_path / "submission", Sources(data))
    assert one.place.parts[0] == TASK and one.summary.startswith(f"{TASK} / ")
    assert f"{N} cases, " in one.summary


def test_parts_are_joined(
    results: dict[tuple[str, str], Result], data: Path, llama: Backbone, tiny_folders: dict[str, Path], tmp_path: Path,
    xkeb_cli: Any,
) -> None:  # fmt: skip
    for name, cases in (("a", ["0", "3"]), ("b", ["1", "2", "4"])):
        config = make_config(
            tiny_folders, tmp_path / name, ["ft"], tasks=[TASK], method_args=FT, data_dir=data, limit=None, cases=cases,
            batch_size=4,
        )  # fmt: skip
        run_jobs(llama, config)
    outcome = xkeb_cli("merge", tmp_path / "a", tmp_path / "b", "--output", tmp_path / "whole", "--data-dir", data)
    assert outcome.status == 0, outcome.err
    (path,) = (tmp_path / "whole").rglob("result.json")
    merged = Result.load(path)
    assert (merged.task, merged.scores) == (results["single", "ft"].task, results["single", "ft"].scores)


def test_a_sequence_keeps_and_damages_its_one_language(
    results: dict[tuple[str, str], Result], output: Path, xkeb_cli: Any
) -> None:
    result = results[SEQUENCE, "ft"]
    assert result.retention is not None and result.damage is not None
    kept = {edits: {name: list(of) for name, of in scores.items()} for edits, scores in result.retention.items()}
    assert kept == {edits: {"reliability": ["en"], "generality": ["en"]} for edits in ("1", str(N))}
    last = result.damage.after[str(N)].languages
    assert list(last) == ["en"] and last["en"].perplexity is not None and last["en"].perplexity.after is not None
    shown = xkeb_cli("show", folder_of(output, result)).out
    assert "reliability, en  generality, en" in shown
    assert re.search(rf"^ *{N} +en +{N} +[0-9.]+%? ", shown.partition("Damage: ")[2], re.MULTILINE)


@pytest.fixture(scope="module")
def site(
    results: dict[tuple[str, str], Result], data: Path, output: Path, llama: Backbone, tiny_folders: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    """Of those results, and of one of a pair."""
    other = tmp_path_factory.mktemp("pair")
    config = make_config(tiny_folders, other, ["ft"], tasks=["mzsre_en2de"], method_args=FT, data_dir=data, limit=None)
    run_jobs(llama, config)
    place = tmp_path_factory.mktemp("built") / "site"
    built = build_site([output, other], place, with_published=False, sources=Sources(data))
    assert (built.broken, built.failed, built.n_results) == ([], [], 5)
    return place


def test_the_site_has_its_rows_and_says_what_leaves_them_out(
    site: Path, results: dict[tuple[str, str], Result]
) -> None:
    page = Page(site / "index.html")
    assert f"leave out tasks of one language, which ask in no other: {TASK}" in page.text
    took = ["Method", "Overall", "The edit took", "In other words, en"]
    assert [*took, "Other facts stay"] in page.rows
    assert [*took, "In other words, de", "Other facts stay"] in page.rows
    with next((site / "pictures").glob("overview-crossing*.csv")).open(encoding="utf-8", newline="") as file:
        assert {row["task"] for row in csv.DictReader(file)} == {"mzsre_en2de"}
    (path,) = (site / "results").glob("locft-zsre--*--rome--*/index.html")
    text = Page(path).text
    assert "edited in en, asked in it alone; protocol teacher_forcing" in text and "Generality in en, by digit" in text
    table = (site / "tasks" / "locft-zsre.html").read_text(encoding="utf-8")
    assert "edits in en, asked in the same" in table
    rows = json.loads((site / "tables" / "all--en--teacher-forcing.json").read_text("utf-8"))
    (ft,) = [row for row in rows if (row["badge"], row["method"]) == ("reproduced", "ft")]
    scores = results["single", "ft"].scores
    three = [scores[name]["en"]["f1"].mean for name in ("reliability", "generality", "locality")]
    assert (ft["source"], ft["target"]) == ("en", "")
    assert ft["overall"] == pytest.approx(3 / sum(1 / value for value in three) if all(three) else 0.0)


def test_the_sequences_tab_and_the_case_browser_have_it(site: Path) -> None:
    page = Page(site / "index.html")
    assert f"{N} edits on a model, asked after all" in page.text
    heads = [row for row in page.rows if "Kept at the end" in row]
    assert [row for row in heads if "In other words, other languages" in row] == []
    names = {path.name.split("-")[1] for path in (site / "pictures").glob("overview-*.csv")}
    assert {"retention", "points"} <= names
    index = json.loads((site / "cases" / "index.json").read_text(encoding="utf-8"))
    told = {group["name"]: group["results"][0]["told"] for group in index["groups"]}
    assert told[f"{TASK}, {N} cases, teacher forcing"] == ["fixed", "broken"]
    assert told["mzsre_en2de, 6 cases, teacher forcing"] == ["fixed", "broken", "crossed"]


def test_a_picture_that_needs_another_language_refuses(
    results: dict[tuple[str, str], Result], output: Path, tmp_path: Path
) -> None:
    for kind in ("matrix", "families"):
        with pytest.raises(
            RequestError, match=f"^There is nothing to draw: {kind} is of .*ask in one language alone.$"
        ):
            plot(kind, [output], tmp_path)
    single = [folder_of(output, results["single", method]) for method in ("ft", "rome")]
    (balance,) = plot("balance", single, tmp_path)
    assert [row[:2] for row in balance.chart.rows if row[2] == "reproduced"] == [
        [method, results["single", method].model.name] for method in ("ft", "rome")
    ]
    (kept,) = plot("retention", [folder_of(output, results[SEQUENCE, "ft"])], tmp_path)
    assert {tuple(row[1:3]) for row in kept.chart.rows} == {("reliability", "en"), ("generality", "en")}


def test_the_paper_s_protocol_asks_its_questions(
    data: Path, llama: Backbone, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    config = make_config(
        tiny_folders, tmp_path, ["ft"], tasks=[TASK], method_args={"ft.steps": 1}, data_dir=data, limit=2,
        protocols=["paper"],
    )  # fmt: skip
    (result,), _ = run_jobs(llama, config)
    assert (result.protocol, list(result.scores["locality"])) == ("paper", ["en"])
    (path,) = tmp_path.rglob("cases.jsonl")
    asked = [probe["prompt"] for probe in lines(path)[0]["probes"] if probe["property"] == "locality"]
    assert asked == ["nq question: what is red 0"]  # letter for letter, as the released code does
    assert check_result(path.with_name("result.json"), Sources(data)).problems == ()


GERMAN = """\
task: german
version: 1
source: de
targets: []
dataset:
  format: jsonl
  path: facts.jsonl
  training: facts.jsonl
  columns:
    de: {question: q, answer: a, subject: s}
"""


@pytest.fixture
def german(tmp_path: Path) -> Path:
    """A table, with facts to learn from."""
    facts = [{"q": side("de", i)["src"], "a": side("de", i)["alt"], "s": side("de", i)["subject"]} for i in range(4)]
    (tmp_path / "facts.jsonl").write_text("".join(json.dumps(fact) + "\n" for fact in facts), encoding="utf-8")
    (tmp_path / "german.yaml").write_text(GERMAN, encoding="utf-8")
    return tmp_path


def test_a_table_is_valid_learnt_from_and_tuned_on(german: Path, tiny_folders: dict[str, Path], xkeb_cli: Any) -> None:
    assert xkeb_cli("validate", german / "german.yaml").out == (
        f"{german / 'german.yaml'}: german is valid: 4 cases; 4 training facts\n"
    )
    parallel = load_task("german", include=[german]).parallel_training
    assert [case.edit.translations for case in parallel.cases[:2]] == [{"de": "Rom"}, {"de": "Paris"}]
    tuned = xkeb_cli(
        "tune", "--method", "ft", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}", "--device", "cpu",
        "--grid", "lr=0.01,0.1", "--method-args", "steps=1", "--tasks", "german", "--include-path", german, "--limit", "2",
        "--output", german / "tuned.yaml",
    )  # fmt: skip
    assert tuned.status == 0, tuned.err
    assert "task: german" in (german / "tuned.yaml").read_text(encoding="utf-8")


def test_reliability_against_an_english_answer_needs_one(german: Path, tiny_folders: dict[str, Path]) -> None:
    config = make_config(
        tiny_folders, german / "out", ["ft"], tasks=["german"], include=[german], protocols=["paper"],
        protocol_args={"paper.reliability": "english"},
    )  # fmt: skip
    with pytest.raises(RequestError, match="Task 'german' asks in de: its reliability can't be scored against an"):
        plan_run(config)


def test_a_method_that_learns_from_facts_says_that_there_are_none(data: Path, tiny_folders: dict[str, Path]) -> None:
    config = make_config(tiny_folders, data / "out", ["ike"], tasks=[TASK], data_dir=data)
    with pytest.raises(RequestError, match=r"^Data set 'locft_zsre' has no training file in 'en'\.$"):
        plan_run(config)
