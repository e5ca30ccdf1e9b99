"""One edit, asked in several languages: the same answers, token for token, as in tasks of one pair each."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mzsre_files import FILES, records, side, write_test, write_training
from small_jobs import lines, make_config, run_jobs
from terminal import CONTROL

import xkeb.cli
from xkeb.cli.score_table import show_table
from xkeb.evaluation.planning import plan_run
from xkeb.leaderboard.site.build import build_site
from xkeb.leaderboard.verify.check import check_result
from xkeb.leaderboard.verify.source import Sources
from xkeb.models.backbone import Backbone
from xkeb.results.result import Result

ALL = "tiny_en2all"
METHODS = ("ft", "rome", "ike-published", "xmem")
OPTIONS: dict[str, Any] = {
    "ft.steps": 3, "ft.lr": 0.05, "rome.layer": 1, "rome.steps": 3, "rome.mom2_samples": 10, "ike-published.k": 0,
    "xmem.scope": "all",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder, and beside it a folder of tasks."""
    root = tmp_path_factory.mktemp("several")
    for code in FILES:
        write_test(root / "data", code)
    write_training(root / "data", 24)
    languages = ", ".join(("en", *FILES))
    task = f"task: tiny_{{source}}2all\nversion: 1\ndataset: mzsre\nsubject: aligned\nlanguages: [{languages}]\n"
    (root / "tasks").mkdir()
    (root / "tasks" / "all.yaml").write_text(task, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def results(data: Path, output: Path, llama: Backbone, tiny_folders: dict[str, Path]) -> dict[tuple[str, str], Result]:
    """By task and method, of the task with three targets and of the three pairs."""
    tasks = [ALL, *(f"mzsre_en2{code}" for code in FILES)]
    config = make_config(
        tiny_folders, output, METHODS, tasks=tasks, method_args=OPTIONS, data_dir=data / "data", include=[data / "tasks"],
        limit=None, batch_size=4,
    )  # fmt: skip
    found, _ = run_jobs(llama, config)
    return {(result.task.name, result.method.name): result for result in found}


def answers(output: Path, result: Result) -> dict[tuple[str, str, str], dict[str, Any]]:
    """By case, property and language, all that a journal holds of a question."""
    path = output / result.task.name / result.model.name / result.method.name / "cases.jsonl"
    return {
        (case["case_id"], probe["property"], probe["language"]): probe
        for case in lines(path)
        for probe in case["probes"]
    }


@pytest.mark.parametrize("method", METHODS)
def test_every_answer_is_that_of_the_pair_token_for_token(
    results: dict[tuple[str, str], Result], output: Path, method: str
) -> None:
    whole = results[ALL, method]
    every = answers(output, whole)
    assert {language for *_, language in every} == {"en", *FILES}
    changed = 0
    for code in FILES:
        pair = results[f"mzsre_en2{code}", method]
        for place, probe in answers(output, pair).items():
            assert every[place] == probe
            changed += probe["before"] != probe["after"]
        for name, languages in pair.scores.items():
            for language, scores in languages.items():
                assert whole.scores[name][language] == scores
                assert whole.scores_before[name][language] == pair.scores_before[name][language]
    assert changed  # an edit that does nothing would be the same in every language, too


@pytest.mark.parametrize("method", METHODS)
def test_a_slice_of_differing_answers_is_that_of_the_pair_in_the_target(
    results: dict[tuple[str, str], Result], method: str
) -> None:
    whole = results[ALL, method]
    for code in FILES:
        pair = results[f"mzsre_en2{code}", method]
        for part in ("answers=differ", "answers=equal"):
            for name in ("generality", "locality", "portability"):
                assert whole.slices[part][name][code] == pair.slices[part][name][code]
    n = {code: whole.slices["answers=differ"]["generality"][code]["f1"].n for code in ("en", *FILES)}
    assert n == {"en": 4, "de": 2, "ru": 4, "th": 4}  # Paris and Lyon are the same text in German


def test_a_result_says_its_targets_and_what_crosses(results: dict[tuple[str, str], Result], output: Path) -> None:
    result = results[ALL, "ft"]
    stored = json.loads((output / ALL / result.model.name / "ft" / "result.json").read_text())
    assert stored["task"]["targets"] == list(FILES) and "target" not in stored["task"]
    assert stored["missing"] == []
    crossing = result.crossing
    assert crossing is not None and list(crossing) == ["answers=differ", "all"]
    assert {part: list(targets) for part, targets in crossing.items()} == {part: list(FILES) for part in crossing}
    assert {code: targets["f1"].both.n for code, targets in crossing["answers=differ"].items()} == {
        "de": 2,
        "ru": 4,
        "th": 4,
    }
    for code, targets in crossing["all"].items():
        gains = [
            result.scores["generality"][language]["f1"].mean - result.scores_before["generality"][language]["f1"].mean
            for language in ("en", code)
        ]
        assert (targets["f1"].gain_source, targets["f1"].gain) == pytest.approx(gains)
    pair = json.loads((output / "mzsre_en2de" / result.model.name / "ft" / "result.json").read_text())
    assert pair["task"]["target"] == "de" and "targets" not in pair["task"]
    assert not {"crossing", "missing"} & pair.keys()


def test_a_run_that_was_cut_short_goes_on(
    results: dict[tuple[str, str], Result], data: Path, output: Path, llama: Backbone, tiny_folders: dict[str, Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    shutil.copytree(output / ALL, tmp_path / ALL)
    path = tmp_path / ALL / results[ALL, "ft"].model.name / "ft" / "cases.jsonl"
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[:2]))
    config = make_config(
        tiny_folders, tmp_path, ["ft"], tasks=[ALL], method_args={"ft.steps": 3, "ft.lr": 0.05}, data_dir=data / "data",
        include=[data / "tasks"], limit=None,
    )  # fmt: skip
    (again,), phases = run_jobs(llama, config)
    assert (again.scores, again.slices, again.crossing) == tuple(
        getattr(results[ALL, "ft"], name) for name in ("scores", "slices", "crossing")
    )
    assert phases.counts["edit"] == 4


def test_a_good_result_passes_every_check_and_a_changed_one_does_not(
    results: dict[tuple[str, str], Result], data: Path, output: Path, tmp_path: Path
) -> None:
    folder = output / ALL / results[ALL, "ft"].model.name / "ft"
    report = check_result(folder / "result.json", Sources(data / "data"))
    assert report.problems == ()
    shutil.copytree(folder, tmp_path / "forged")
    path = tmp_path / "forged" / "result.json"
    stored = json.loads(path.read_text())
    stored["crossing"]["all"]["ru"]["f1"]["gain"] += 1
    path.write_text(json.dumps(stored))
    (problem,) = check_result(path, Sources(data / "data")).problems
    assert problem.startswith("crossing.all.ru.f1.gain is stated as ")


def test_the_site_shows_it(results: dict[tuple[str, str], Result], output: Path, tmp_path: Path) -> None:
    built = build_site([output], tmp_path / "site", with_published=False)
    assert not built.broken
    (page,) = (tmp_path / "site" / "results").glob("tiny-en2all--*--ft--*/index.html")
    text = page.read_text(encoding="utf-8")
    assert "edited in en, asked in en, de, ru and th" in text and "What crosses" in text
    table = (tmp_path / "site" / "tasks" / "tiny-en2all.html").read_text(encoding="utf-8")
    assert "edits in en, asked in 4 languages" in table
    model = (tmp_path / "site" / "methods" / "ft.html").read_text(encoding="utf-8")
    picture = model.partition("Transfer of f1, in percent: edits in en")[2].partition("</svg>")[0]
    crossing = results[ALL, "ft"].crossing
    assert crossing is not None
    transfers = [crossing["answers=differ"][code]["f1"].transfer for code in FILES]
    assert re.findall(r'middle">([^<]*)</text>', picture) == [
        *FILES, "ft", *(f"{value:.0f}" for value in transfers if value is not None),
    ]  # fmt: skip


def test_two_results_are_compared_over_every_language(results: dict[tuple[str, str], Result], output: Path) -> None:
    paths = [str(output / ALL / results[ALL, "ft"].model.name / method) for method in ("ft", "rome")]
    run = CliRunner().invoke(xkeb.cli.cli, ["compare", *paths, "--json", "--slice", "answers=differ"])
    rows = {(row["property"], row["language"], row["metric"]): row["pairs"] for row in json.loads(run.stdout)["rows"]}
    assert {code: rows["generality", code, "f1"] for code in ("en", *FILES)} == {"en": 4, "de": 2, "ru": 4, "th": 4}
    both = [str(output / task / results[ALL, "ft"].model.name / "ft") for task in (ALL, "mzsre_en2ru")]
    run = CliRunner().invoke(xkeb.cli.cli, ["compare", *both, "--across", "task", "--json"])
    rows_of_all = json.loads(run.stdout)["parts"][0]["rows"]
    assert {row["language"] for row in rows_of_all} == {"en", "ru"}
    assert all(row["gap"] == 0 for row in rows_of_all)


def test_the_tables_show_every_language_and_of_several_sources_a_matrix(
    results: dict[tuple[str, str], Result], data: Path, output: Path, llama: Backbone, tiny_folders: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)  # a table is for terminals
    english = results[ALL, "ft"]
    show_table([english], output)
    shown = CONTROL.sub("", capsys.readouterr().out)
    assert shown.index("edited in English (f1 / em), cases whose answers differ") < shown.index("(f1 / em), all cases")
    assert english.crossing is not None
    for code, name in (("de", "German"), ("th", "Thai")):
        for part in ("answers=differ", "all"):
            record = english.crossing[part][code]
            transfer = "-" if record["f1"].transfer is None else f"{record['f1'].transfer:.1f}"
            n = record["f1"].both.n
            assert re.search(
                rf"^{name} +{n} .* {re.escape(transfer)} +{record['em'].both.mean:.1f} *$", shown, re.MULTILINE
            )
    config = make_config(
        tiny_folders, output, ["ft"], tasks=["tiny_de2all"], method_args={"ft.steps": 3, "ft.lr": 0.05},
        data_dir=data / "data", include=[data / "tasks"], limit=None,
    )  # fmt: skip
    (german,), _ = run_jobs(llama, config)
    show_table([english, german], output)
    shown = CONTROL.sub("", capsys.readouterr().out)
    assert "transfer of f1 in percent, all cases" in shown and german.crossing is not None
    cells = {"en": english.crossing["all"]["de"]["f1"].transfer, "de": german.crossing["all"]["en"]["f1"].transfer}
    assert all(value is not None for value in cells.values())
    rows = [line.split() for line in shown.partition("all cases")[2].splitlines()]
    assert rows[1] == ["Edited", "in", "de", "en", "ru", "th"]
    assert [row[1] for row in rows if row[:1] == ["English"]] == [f"{cells['en']:.0f}"]
    assert [row[1] for row in rows if row[:1] == ["German"]] == [f"{cells['de']:.0f}"]
    assert " points better than " in shown and "other family, other script " in shown


def test_a_case_without_a_language_keeps_the_others(
    data: Path, llama: Backbone, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    write_test(tmp_path, "de", [*records("de", range(3)), {"en": side("en", 3), "de": side("de", 3, rephrase=" ")}])
    write_test(tmp_path, "ru", records("ru", [3, 0]))
    write_test(tmp_path, "th", records("th", [0, 1, 3]))
    config = make_config(
        tiny_folders, tmp_path / "out", ["ft"], tasks=[ALL], method_args={"ft.steps": 1}, data_dir=tmp_path,
        include=[data / "tasks"], limit=None,
    )  # fmt: skip
    (result,), _ = run_jobs(llama, config)
    missing = {(one.case_id, one.language): one.reason for one in result.missing or ()}
    assert missing == {
        ("1", "ru"): "mzsre_test_duplicate_enru.json has no ru record with the en question 'What does Bo have?'",
        ("2", "ru"): "mzsre_test_duplicate_enru.json has no ru record with the en question 'What does Cy have?'",
        ("2", "th"): "mzsre_test_duplicate_enth.json has no th record with the en question 'What does Cy have?'",
        ("3", "de"): "de: empty rephrase",
    }
    n = {code: scores["f1"].n for code, scores in result.scores["generality"].items()}
    assert n == {"en": 4, "de": 3, "ru": 2, "th": 3}
    path = tmp_path / "out" / ALL / result.model.name / "ft" / "result.json"
    assert check_result(path, Sources(tmp_path)).problems == ()
    stored = json.loads(path.read_text())
    stored["missing"].pop()
    path.write_text(json.dumps(stored))
    assert any("'3'" in problem and "'de'" in problem for problem in check_result(path, Sources(tmp_path)).problems)


def test_a_method_learns_from_facts_in_all_languages(data: Path, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    config = make_config(
        tiny_folders, tmp_path, ["xmem"], tasks=[ALL], data_dir=data / "data", include=[data / "tasks"], limit=None
    )
    (job,) = plan_run(config).jobs
    fact = job.training()[3].edit
    assert fact.translations == {"en": "G3", "de": "de3", "ru": "ru3", "th": "th3"}
    assert fact.questions["th"] == "อะไรอยู่ใกล้ F3?"
