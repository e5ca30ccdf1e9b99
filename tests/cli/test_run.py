"""``xkeb run`` and ``xkeb edit`` on a tiny model: the files, going on where it stopped, and what is printed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import xkeb

pytest_plugins = ("command_line",)

MINI = Path(__file__).parents[2] / "plugins" / "datasets" / "bizsre_mini" / "bizsre_mini_test.json"
TEMPLATES = 'rome.context_templates=["In short. "]'
CELL = Path("bizsre_mini_en2zh") / "hf"
ANSI_OR_BOX = re.compile("[\x1b\u2500-\u259f\u2800-\u28ff]")
Line = dict[str, Any]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lines(folder: Path) -> list[Line]:
    return [json.loads(line) for line in (folder / "cases.jsonl").read_text(encoding="utf-8").splitlines()]


def answers(folder: Path) -> dict[str, Any]:
    """What a run found out, without how long it took."""
    return {line["case_id"]: {key: value for key, value in line.items() if key != "seconds"} for line in lines(folder)}


def scores(folder: Path) -> Any:
    return read(folder / "result.json")["scores"]


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and time of writing, but for the result, which is written at the end of each run."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "result.json")
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


@pytest.fixture(scope="session")
def finished(
    xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any]:
    """Two methods on three cases: the output folder, and what was printed. Read-only; `output` is a copy."""
    folder = tmp_path_factory.mktemp("finished") / "results"
    outcome = xkeb_cli(
        "run", "--tasks", "bizsre_mini_en2zh", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}",
        "--methods", "ft,rome", "--method-args", TEMPLATES, "--limit", "3", "--output", folder,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    return folder, outcome


@pytest.fixture
def output(finished: tuple[Path, Any], options: dict[str, str]) -> Path:
    """A copy of a finished run; `run` goes on in it."""
    options |= {"methods": "ft,rome", "method-args": TEMPLATES, "limit": "3"}
    return Path(shutil.copytree(finished[0], options["output"], copy_function=shutil.copy2))


# Files -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ft", "rome"])
def test_the_result_is_where_and_what_the_contract_says(finished: tuple[Path, Any], method: str) -> None:
    found = read(finished[0] / CELL / method / "result.json")
    assert {"name", "version", "source", "target", "dataset"} <= set(found["task"])
    assert found["task"]["name"] == "bizsre_mini_en2zh"
    assert (found["task"]["source"], found["task"]["target"]) == ("en", "zh")
    assert set(found["task"]["dataset"]) >= {"name", "sha256", "n_cases"}
    assert found["task"]["dataset"]["n_cases"] == 3
    assert found["model"]["name"] == "hf"
    assert found["model"]["dtype"] == "float32"
    assert re.fullmatch("[0-9a-f]{64}", found["model"]["sha256"])
    assert found["model"]["n_parameters"] > 0
    assert found["method"]["name"] == method
    assert found["method"]["params"]["layer"] is not None
    assert found["protocol"] == "teacher_forcing"
    assert found["skipped"] == []
    assert found["metrics"] == ["f1", "em", "f1_pr", "f1_units"] and found["seed"] == 0
    timing = dict(found["timing"])
    phases = timing.pop("phases")
    assert set(timing) == {"edit_seconds", "evaluate_seconds", "wall_seconds", "peak_memory_bytes"}
    assert all(isinstance(value, int | float) and value > 0 for value in timing.values())
    assert set(phases) == {"load", "before", "fit", "edit", "evaluate", "suite"}
    assert sum(phases.values()) - phases["load"] == pytest.approx(timing["wall_seconds"])
    assert phases["edit"] == pytest.approx(timing["edit_seconds"])  # all of it by this run
    assert phases["evaluate"] == pytest.approx(timing["evaluate_seconds"])
    assert found["environment"]
    assert found["command"].startswith("xkeb run --tasks bizsre_mini_en2zh ")
    assert set(found["scores"]) == {"reliability", "generality", "locality", "portability"}
    assert set(found["scores"]["reliability"]) == {"en"}
    for name, languages in found["scores"].items():
        assert name == "reliability" or set(languages) == {"en", "zh"}
        for metrics in languages.values():
            assert set(metrics) == {"f1", "em", "f1_pr", "f1_units"}
            for score in metrics.values():
                assert set(score) == {"mean", "stderr", "ci95", "n"}
                assert score["n"] == 3
                assert 0 <= score["ci95"][0] <= score["mean"] <= score["ci95"][1] <= 100


@pytest.mark.parametrize("method", ["ft", "rome"])
def test_each_case_is_a_line_with_the_keys_of_the_contract(finished: tuple[Path, Any], method: str) -> None:
    found = lines(finished[0] / CELL / method)
    assert [line["case_id"] for line in found] == ["0", "1", "2"]
    for line in found:
        assert {"case_id", "status", "reason", "edit", "probes", "seconds"} <= set(line)
        assert (line["status"], line["reason"]) == ("ok", None)
        assert set(line["edit"]) >= {"prompt", "subject", "target", "language"}
        assert set(line["seconds"]) == {"edit", "evaluate"}
        assert len(line["probes"]) == 7
        for probe in line["probes"]:
            assert {"property", "language", "prompt", "reference", "before", "after", "scores"} <= set(probe)
            assert set(probe["scores"]) == {"f1", "em", "f1_pr", "f1_units"}


@pytest.mark.parametrize("method", ["ft", "rome"])
def test_locality_is_judged_by_what_was_answered_before_and_all_else_by_the_reference(
    finished: tuple[Path, Any], method: str
) -> None:
    found = set()
    for probe in (probe for line in lines(finished[0] / CELL / method) for probe in line["probes"]):
        judge = "before" if probe["property"] == "locality" else "reference"
        predicted, expected = (Counter(probe["tokens"][name]) for name in ("after", judge))
        overlap = 2 * (predicted & expected).total() / (predicted.total() + expected.total())
        assert probe["scores"]["f1"] == pytest.approx(overlap)
        assert probe["scores"]["em"] == (probe["after"] == probe[judge] and predicted == expected)
        found.add((judge, probe["scores"]["f1"] > 0))
    assert ("before", True) in found


@pytest.mark.parametrize("method", ["ft", "rome"])
def test_the_result_is_the_mean_of_its_lines(finished: tuple[Path, Any], method: str) -> None:
    folder = finished[0] / CELL / method
    for name, languages in scores(folder).items():
        for language, metrics in languages.items():
            for metric, score in metrics.items():
                values = [
                    probe["scores"][metric]
                    for line in lines(folder)
                    for probe in line["probes"]
                    if (probe["property"], probe["language"]) == (name, language)
                ]
                assert score["mean"] == pytest.approx(100 * sum(values) / len(values))


def test_the_python_function_gives_what_the_command_writes(
    finished: tuple[Path, Any], tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    """And, in a folder of the command, goes on where that was."""
    output = Path(shutil.copytree(finished[0], tmp_path / "results"))
    path = {"path": str(tiny_folders["llama"])}
    (result,) = xkeb.evaluate(
        tasks="bizsre_mini_en2zh", model="hf", methods="ft", limit=4, output=output, model_args=path
    )
    found = answers(output / CELL / "ft")
    assert list(result.case_ids) == list(found) == list("0123")
    assert {name: line for name, line in found.items() if name != "3"} == answers(finished[0] / CELL / "ft")
    assert result.scores["locality"]["zh"]["f1"].mean == scores(output / CELL / "ft")["locality"]["zh"]["f1"]["mean"]


# Going on --------------------------------------------------------------------------------------------------------------


def test_the_same_command_again_computes_nothing(run: Callable[..., Any], output: Path) -> None:
    before, scored = contents(output), scores(output / CELL / "rome")
    outcome = run()
    assert outcome.status == 0, outcome.err
    assert contents(output) == before
    assert scores(output / CELL / "rome") == scored
    assert re.search(r"rome +3 +3 ", outcome.out), "the plan says what is done"


def test_a_result_of_the_schema_before_is_written_anew_from_its_lines(
    run: Callable[..., Any], xkeb_cli: Callable[..., Any], output: Path
) -> None:
    path = output / CELL / "ft" / "result.json"
    before, now = contents(output), read(path)
    older = {key: value for key, value in now.items() if key not in ("seed", "metrics")} | {"schema_version": 1}
    older["timing"] = {key: value for key, value in now["timing"].items() if key != "phases"}
    path.write_text(json.dumps(older), encoding="utf-8")
    outcome = xkeb_cli("leaderboard", "check", path)
    assert (
        outcome.status != 0 and "older than the 2 that this xkeb reads: the command that made it, given" in outcome.err
    )
    outcome = run("--verbose")
    assert outcome.status == 0, outcome.err
    assert contents(output) == before
    found = read(path)
    assert (found["scores"], found["settings"], found["seed"]) == (now["scores"], now["settings"], 0)
    assert found["timing"]["phases"]["edit"] == 0 < found["timing"]["edit_seconds"] == now["timing"]["edit_seconds"]


def test_verbose_says_at_the_end_where_the_time_went(run: Callable[..., Any], output: Path) -> None:
    assert "Seconds by phase" not in run().out
    told = run("--verbose", "--fresh", limit="1").out.split("Seconds by phase")[1].splitlines()
    assert told[1].split() == ["Task", "Model", "Method", "load", "before", "fit", "edit", "evaluate", "suite", "all"]
    first, second = (read(output / CELL / method / "result.json")["timing"]["phases"] for method in ("ft", "rome"))
    for line, phases in ((told[2], first), (told[3], second)):
        whole = sum(phases.values())
        shown = [f"{seconds:.1f} ({100 * seconds / whole:.0f}%)" for seconds in phases.values()]
        assert line.split("  ", 1)[1].split() == ["hf", line.split()[2], *" ".join(shown).split(), f"{whole:.1f}"]
    assert first["load"] > 0 == second["load"]  # loaded once, for the first of them


def test_a_higher_limit_keeps_the_lines_and_a_lower_one_counts_only_its_own(
    run: Callable[..., Any], output: Path
) -> None:
    folder = output / CELL / "ft"
    three, scored = (folder / "cases.jsonl").read_bytes(), scores(folder)
    assert run(limit="5").status == 0
    five = (folder / "cases.jsonl").read_bytes()
    assert five.startswith(three)
    assert [line["case_id"] for line in lines(folder)] == list("01234")
    assert read(folder / "result.json")["case_ids"] == list("01234")
    assert scores(folder)["reliability"]["en"]["f1"]["n"] == 5
    assert run(limit="3").status == 0
    assert (folder / "cases.jsonl").read_bytes() == five
    assert read(folder / "result.json")["case_ids"] == list("012")
    assert scores(folder) == scored


def test_the_untouched_model_is_asked_once_for_all_methods(run: Callable[..., Any], options: dict[str, str]) -> None:
    assert run(methods="ft").status == 0
    path = Path(options["output"]) / CELL / "before.jsonl"
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert run(methods="ft,rome", method_args=TEMPLATES).status == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    told = {
        line["case_id"]: [a["text"] for a in line["answers"]] for line in map(json.loads, path.open(encoding="utf-8"))
    }
    for method in ("ft", "rome"):
        for line in lines(path.parent / method):
            assert [probe["before"] for probe in line["probes"]] == told[line["case_id"]]


def test_fresh_makes_every_case_anew(run: Callable[..., Any], output: Path) -> None:
    folder = output / CELL / "ft"
    before, found, scored = (folder / "cases.jsonl").read_bytes(), answers(folder), scores(folder)
    assert run("--fresh", methods="ft", method_args=None).status == 0
    assert (folder / "cases.jsonl").read_bytes() != before
    assert (answers(folder), scores(folder)) == (found, scored)


def test_fresh_takes_other_settings(run: Callable[..., Any], output: Path) -> None:
    assert run("--fresh", methods="ft", method_args="ft.steps=1", limit="2").status == 0
    assert [line["case_id"] for line in lines(output / CELL / "ft")] == ["0", "1"]
    assert read(output / CELL / "ft" / "result.json")["method"]["params"]["steps"] == 1


@pytest.mark.parametrize("batch_size", ["1", "2"])
def test_the_same_seed_finds_the_same_in_another_batch_size(
    run: Callable[..., Any], output: Path, tmp_path: Path, batch_size: str
) -> None:
    assert run(output=str(tmp_path / "again"), batch_size=batch_size).status == 0
    for method in ("ft", "rome"):
        assert answers(tmp_path / "again" / CELL / method) == answers(output / CELL / method)
        assert scores(tmp_path / "again" / CELL / method) == scores(output / CELL / method)


def test_only_the_cases_named_are_run(run: Callable[..., Any], output: Path, tmp_path: Path) -> None:
    assert run(output=str(tmp_path / "some"), methods="ft", method_args=None, limit=None, cases="2,0").status == 0
    folder = tmp_path / "some" / CELL / "ft"
    assert read(folder / "result.json")["case_ids"] == ["2", "0"]
    assert answers(folder) == {key: value for key, value in answers(output / CELL / "ft").items() if key != "1"}


def test_a_run_killed_in_every_method_goes_on_to_the_same_result(
    run: Callable[..., Any], options: dict[str, str], tmp_path: Path
) -> None:
    """SIGKILL, twice, to the real command; then the same command to its end, and beside it one that was let alone."""
    steps = "ft.steps=60,ft.stop_loss=0,rome.stop_loss=0,rome.steps=60"
    options |= {"methods": "ft,rome", "method-args": f"{steps},{TEMPLATES}", "limit": "10", "batch-size": "1"}
    folder = Path(options["output"]) / CELL
    for method in ("ft", "rome"):
        journal = folder / method / "cases.jsonl"
        start_and_kill(options, lambda path=journal: path.exists() and path.read_bytes().count(b"\n") >= 2)
        assert 2 <= journal.read_bytes().count(b"\n") < 10
        assert not (folder / method / "result.json").exists()
    assert run().status == 0
    assert run(output=str(tmp_path / "whole")).status == 0
    for method in ("ft", "rome"):
        assert [line["case_id"] for line in lines(folder / method)] == [str(i) for i in range(10)]
        assert answers(folder / method) == answers(tmp_path / "whole" / CELL / method)
        assert scores(folder / method) == scores(tmp_path / "whole" / CELL / method)


def start_and_kill(options: dict[str, str], when: Callable[[], bool]) -> None:
    """Runs ``xkeb run`` in a process of its own, and kills it as soon as something is so."""
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    command = [sys.executable, "-m", "xkeb.cli", "run", *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not when() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    told = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, told


# What goes wrong -------------------------------------------------------------------------------------------------------


def test_a_cell_that_fails_costs_no_other(run: Callable[..., Any], output: Path) -> None:
    shutil.rmtree(output / CELL / "ft")
    before, scored = contents(output), scores(output / CELL / "rome")
    outcome = run(method_args=f"ft.lr=-1,{TEMPLATES}")
    assert outcome.status == 1
    assert re.search(r"^xkeb: bizsre_mini_en2zh / hf / ft: .*Invalid learning rate: -1\.0$", outcome.err, re.MULTILINE)
    assert "Traceback" not in outcome.err
    assert "rome" in outcome.out.split("Plan")[1]
    assert not (output / CELL / "ft" / "result.json").exists()
    assert {name: held for name, held in contents(output).items() if not name.endswith("ft/cases.jsonl")} == before
    assert scores(output / CELL / "rome") == scored


def test_debug_shows_where_a_cell_failed(xkeb_cli: Callable[..., Any], options: dict[str, str]) -> None:
    """Who writes a method needs to see the line that raised."""
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    outcome = xkeb_cli("--debug", "run", *flags, "--method-args", "ft.lr=-1")
    assert outcome.status == 1
    assert "Traceback" in outcome.err
    assert "ft.py" in outcome.err


def test_records_that_can_t_be_run_are_counted_with_the_reason(
    run: Callable[..., Any], options: dict[str, str], tmp_path: Path
) -> None:
    records = json.loads(MINI.read_text(encoding="utf-8"))[:4]
    records[0]["en"]["alt"] = " "
    records[1]["zh"]["portability"]["New Question"] = ""
    records[2]["en"]["subject"] = "Atlantis"
    (tmp_path / "data" / "bizsre").mkdir(parents=True)
    (tmp_path / "data" / "bizsre" / "bizsre_test.json").write_text(json.dumps(records), encoding="utf-8")
    outcome = run(
        tasks="bizsre_en2zh", data_dir=str(tmp_path / "data"), methods="ft,rome", method_args=TEMPLATES, limit=None
    )
    assert outcome.status == 0, outcome.err
    assert "2 of 4 records can't be run" in outcome.out
    empty = [{"case_id": "0", "reason": "en: empty alt"}, {"case_id": "1", "reason": "zh: empty portability question"}]
    lost = [{"case_id": "2", "reason": "the subject 'Atlantis' does not stand in the prompt"}]
    for method, skipped, ran in (("ft", empty, ["2", "3"]), ("rome", empty + lost, ["3"])):
        found = read(Path(options["output"]) / "bizsre_en2zh" / "hf" / method / "result.json")
        assert found["skipped"] == skipped
        assert found["case_ids"] == ran
        assert found["scores"]["reliability"]["en"]["f1"]["n"] == len(ran)
    last = lines(Path(options["output"]) / "bizsre_en2zh" / "hf" / "rome")
    assert {line["case_id"]: (line["status"], line["reason"]) for line in last} == {
        "2": ("skipped", lost[0]["reason"]),
        "3": ("ok", None),
    }


# What is printed -------------------------------------------------------------------------------------------------------


def test_piped_output_is_plain_text(finished: tuple[Path, Any]) -> None:
    _, outcome = finished
    assert not ANSI_OR_BOX.search(outcome.out + outcome.err)


def test_the_plan_comes_first_and_the_table_last(finished: tuple[Path, Any]) -> None:
    folder, outcome = finished
    plan, _, table = outcome.out.partition("(teacher forcing, f1 / em)")
    assert re.search(r"^Plan\b", plan)
    for method in ("ft", "rome"):
        assert re.search(rf"bizsre_mini_en2zh +hf +{method} +3 +0 ", plan)
        row = next(line for line in table.splitlines() if re.search(rf"\b{method}\b", line))
        found = scores(folder / CELL / method)
        cells = [
            f"{found[name][code]['f1']['mean']:.2f} / {found[name][code]['em']['mean']:.2f}"
            for name, code in [("reliability", "en")]
            + [(name, code) for code in ("en", "zh") for name in ("generality", "locality", "portability")]
        ]
        assert re.findall(r"\d+\.\d\d / \d+\.\d\d", row) == cells
    assert str(folder) in table.splitlines()[-1]


def test_a_pipe_is_plain_and_wide_whatever_the_terminal(options: dict[str, str]) -> None:
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    done = subprocess.run(
        [sys.executable, "-m", "xkeb.cli", "run", *flags],
        env=environment | {"TERM": "xterm-256color", "COLUMNS": "40"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not ANSI_OR_BOX.search(done.stdout + done.stderr)
    assert max(map(len, done.stdout.splitlines())) > 80, "a table that is piped is never wrapped to a terminal"
    told = r"bizsre_mini_en2zh / hf / ft: 1 cases in \d+ s\n  layer=4, steps=25, lr=0\.0005, [^\n]*\n"
    assert re.fullmatch(told, done.stderr)


@pytest.mark.parametrize("arguments", [["--help"], ["ls"], ["ls", "--json"], ["run", "--help"], ["ls", "methods"]])
def test_help_and_lists_don_t_wait_for_torch(arguments: list[str]) -> None:
    script = (
        "import sys; from xkeb.cli import main\n"
        "try: main()\n"
        "except SystemExit as left: assert not left.code, left.code\n"
        "heavy = {'torch', 'transformers', 'datasets', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


# A run file ------------------------------------------------------------------------------------------------------------


def test_a_run_file_stands_for_the_options_and_the_command_line_wins(
    xkeb_cli: Callable[..., Any], output: Path, options: dict[str, str], tmp_path: Path
) -> None:
    values = {
        "tasks": ["bizsre_mini_en2zh"],
        "model": "hf",
        "model-args": {"path": options["model-args"].removeprefix("path=")},
        "methods": ["ft", "rome"],
        "method_args": {"rome.context_templates": ["In short. "], "ft.norm_constraint": None},
        "limit": 2,
        "output": str(tmp_path / "from file"),
        "seed": 0,
        "fresh": True,
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    outcome = xkeb_cli("run", "--config", tmp_path / "run.yaml", "--limit", "3")
    assert outcome.status == 0, outcome.err
    for method in ("ft", "rome"):
        assert answers(tmp_path / "from file" / CELL / method) == answers(output / CELL / method)


def test_a_run_file_may_name_task_folders(run: Callable[..., Any], options: dict[str, str], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        text = f"task: {name}\nversion: 1\ndataset: bizsre_mini\npair: zh-en\n"
        (tmp_path / name / f"{name}.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "run.yaml").write_text(
        yaml.safe_dump({"include-path": [str(tmp_path / "one"), str(tmp_path / "two")]}), encoding="utf-8"
    )
    outcome = run("--config", tmp_path / "run.yaml", tasks="one,two")
    assert outcome.status == 0, outcome.err
    assert (Path(options["output"]) / "two" / "hf" / "ft" / "result.json").is_file()


# Edits by hand ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def edit(xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path]) -> Callable[..., Any]:
    def edit(*arguments: object) -> Any:
        outcome = xkeb_cli(
            "edit", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}", "--prompt",
            "What is the capital of France?", "--target", "Lyon", "--subject", "France",
            "--ask", "zh:法国的首都是哪里？|里昂", *arguments,
        )  # fmt: skip
        assert outcome.status == 0, outcome.err
        return outcome

    return edit


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("ft", ["lr=0.01"]), ("rome", [TEMPLATES.removeprefix("rome.")]), ("ike", ["k=0"])],
)
def test_an_edit_by_hand_is_shown_and_its_saved_change_does_the_same(
    edit: Callable[..., Any], tiny_folders: dict[str, Path], tmp_path: Path, method: str, arguments: list[str]
) -> None:
    from xkeb.predict import Query, predict

    outcome = edit("--method", method, "--method-args", *arguments, "--save", tmp_path / "change")
    assert str(tmp_path / "change") in outcome.out
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu")
    queries = [Query("What is the capital of France?", "Lyon", "en"), Query("法国的首都是哪里？", "里昂", "zh")]
    before = predict(backbone, queries)
    with xkeb.load_change(tmp_path / "change").applied(backbone):
        after = predict(backbone, queries)
    rows = [line for line in outcome.out.splitlines() if line.startswith(("en ", "zh "))]
    assert len(rows) == 2
    for query, row, old, new in zip(queries, rows, before, after, strict=True):
        assert query.prompt in row
        assert query.target in row
        assert printable(old.text) in printable(row)
        assert printable(new.text) in printable(row)
    assert [answer.ids for answer in before] != [answer.ids for answer in after]


def printable(text: str) -> str:
    """A tiny model's answers hold bytes that a terminal doesn't show."""
    return "".join(character for character in text if character.isalnum())


def test_an_edited_checkpoint_is_a_model_of_its_own(
    edit: Callable[..., Any], tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    from xkeb.predict import Query, predict

    edit("--method", "ft", "--method-args", "lr=0.01", "--save", tmp_path / "change")
    edit("--method", "ft", "--method-args", "lr=0.01", "--save", tmp_path / "model", "--save-as", "checkpoint")
    original = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu")
    edited = xkeb.load_backbone("hf", path=str(tmp_path / "model"), device="cpu")
    query = Query("What is the capital of France?", "Lyon", "en")
    with xkeb.load_change(tmp_path / "change").applied(original):
        assert predict(original, [query]) == predict(edited, [query])
    assert predict(original, [query]) != predict(edited, [query])


def test_a_method_that_shows_the_answer_asked_for_works_by_hand_too(
    xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path]
) -> None:
    """It has the answer in the language of the edit, if in no other."""
    outcome = xkeb_cli(
        "edit", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}", "--method", "ike-published",
        "--method-args", "k=0", "--prompt", "What is the capital of France?", "--target", "Lyon",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
