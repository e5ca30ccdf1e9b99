"""``xkeb run`` on a tiny model: what its files hold, and cells that fail."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished_cells import CELL, TEMPLATES, answers, contents, lines, read, scores

import xkeb

pytest_plugins = ("command_line", "finished_cells")

MINI = Path(__file__).parents[2] / "plugins" / "datasets" / "bizsre_mini" / "bizsre_mini_test.json"


@pytest.mark.parametrize("method", ["ft", "rome"])
def test_the_result_is_where_and_what_the_contract_says(finished: tuple[Path, Any], method: str) -> None:
    found = read(finished[0] / CELL / method / "result.json")
    assert {"name", "version", "source", "target", "dataset"} <= set(found["task"])
    assert found["task"]["name"] == "bizsre_mini_en2zh"
    assert (found["task"]["source"], found["task"]["target"]) == ("en", "zh")
    assert set(found["task"]["dataset"]) >= {"name", "sha256", "n_cases"}
    assert found["task"]["dataset"]["n_cases"] == 3
    assert found["model"]["name"] == "llama"  # the last part of its path
    assert (found["model"]["plugin"], found["model"]["revision"]) == ("hf", None)
    assert Path(found["model"]["args"]["path"]).name == "llama"
    sees = {"ft": ["source_edit"], "rome": ["source_edit", "source_training"]}
    assert found["method"]["sees"] == sees[method] and found["selection"] == "first"
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
                assert set(score) == {"mean", "stderr", "ci95", "n", "n_clusters"}
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


def test_a_cell_that_fails_costs_no_other(run: Callable[..., Any], output: Path) -> None:
    shutil.rmtree(output / CELL / "ft")
    before, scored = contents(output), scores(output / CELL / "rome")
    outcome = run(method_args=f"ft.lr=-1,{TEMPLATES}")
    assert outcome.status == 1
    assert re.search(
        r"^xkeb: bizsre_mini_en2zh / llama / ft: .*Invalid learning rate: -1\.0$", outcome.err, re.MULTILINE
    )
    assert "Traceback" not in outcome.err
    assert "rome" in outcome.err.split("Plan")[1] and "\trome\t" in outcome.out
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


def test_cases_that_a_shorter_run_leaves_out_of_the_result_are_told(
    run: Callable[..., Any], output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(methods="ft", method_args=None, limit="3").status == 0 and not caplog.messages
    assert run(methods="ft", method_args=None, limit="2").status == 0
    folder = output / "bizsre_mini_en2zh" / "llama" / "ft"
    assert caplog.messages == [f"{folder} holds 3 cases of this kind; its result is of the 2 that were asked for."]
    assert read(folder / "result.json")["case_ids"] == ["0", "1"]


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
    assert "2 of 4 records can't be run" in outcome.err
    empty = [{"case_id": "0", "reason": "en: empty alt"}, {"case_id": "1", "reason": "zh: empty portability question"}]
    lost = [{"case_id": "2", "reason": "the subject 'Atlantis' does not stand in the prompt"}]
    for method, skipped, ran in (("ft", empty, ["2", "3"]), ("rome", empty + lost, ["3"])):
        found = read(Path(options["output"]) / "bizsre_en2zh" / "llama" / method / "result.json")
        assert found["skipped"] == skipped
        assert found["case_ids"] == ran
        assert found["scores"]["reliability"]["en"]["f1"]["n"] == len(ran)
    last = lines(Path(options["output"]) / "bizsre_en2zh" / "llama" / "rome")
    assert {line["case_id"]: (line["status"], line["reason"]) for line in last} == {
        "2": ("skipped", lost[0]["reason"]),
        "3": ("ok", None),
    }
