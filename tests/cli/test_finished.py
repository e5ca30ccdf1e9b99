"""A run that is finished, asked for again: its scores at once, without torch; unless anything is no longer as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mzsre_files import write_test, write_training

pytest_plugins = ("command_line",)

MINI = Path(__file__).parents[2] / "plugins" / "datasets" / "bizsre_mini" / "bizsre_mini_test.json"
CELL = Path("bizsre_en2zh/model/ft")
FINISHED = "All of it is finished (results: 1); --fresh runs it again.\n"


@pytest.fixture
def folders(options: dict[str, str], tiny_folders: dict[str, Path], tmp_path: Path) -> Path:
    """Data and a model of the test's own, which it may change; and a run of one case of it."""
    (tmp_path / "data" / "bizsre").mkdir(parents=True)
    shutil.copy(MINI, tmp_path / "data" / "bizsre" / "bizsre_test.json")
    shutil.copytree(tiny_folders["llama"], tmp_path / "model")
    options |= {
        "tasks": "bizsre_en2zh",
        "data-dir": str(tmp_path / "data"),
        "model-args": f"path={tmp_path / 'model'}",
        "method-args": "ft.steps=1",
    }
    return tmp_path


def test_it_is_known_without_torch_and_says_the_same(
    run: Callable[..., Any], options: dict[str, str], folders: Path
) -> None:
    first = run()
    assert first.status == 0, first.err
    written = {path: path.stat().st_mtime_ns for path in (folders / "results").rglob("*")}
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    script = (
        "import sys; from xkeb.cli import main\n"
        "try: main()\n"
        "except SystemExit as left: assert not left.code, left.code\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    again = subprocess.run(
        [sys.executable, "-c", script, "run", *flags], capture_output=True, text=True, check=False, env=os.environ
    )
    assert again.returncode == 0, again.stderr
    assert (again.stdout, again.stderr) == (first.out, FINISHED)
    assert {path: path.stat().st_mtime_ns for path in (folders / "results").rglob("*")} == written
    told = json.loads(run("--json").out)
    assert told["results"] == [json.loads((folders / "results" / CELL / "result.json").read_text(encoding="utf-8"))]
    assert "Seconds by phase" in run("--verbose").err


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def test_whatever_it_was_made_of_or_left_is_looked_at(run: Callable[..., Any], folders: Path) -> None:
    results = folders / "results" / CELL
    changes: list[Callable[[], Any]] = [
        (results / "result.json").unlink,
        lambda: touch(results / "cases.jsonl"),
        lambda: touch(folders / "data" / "bizsre" / "bizsre_test.json"),
        lambda: touch(folders / "model" / "model.safetensors"),
        lambda: shutil.copy(folders / "model" / "config.json", folders / "data" / "bizsre" / "zsre_mend_eval.json"),
    ]
    assert run().status == 0
    for change in changes:
        assert run().err == FINISHED
        change()
        outcome = run()
        assert outcome.status == 0 and "Plan" in outcome.err, outcome.err
    assert run().err == FINISHED


def test_a_result_that_cant_be_read_is_not_finished(
    run: Callable[..., Any], folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run()
    assert run().err == FINISHED
    monkeypatch.setattr("xkeb.results.untrusted.LARGEST_RESULT", 100)
    outcome = run()
    assert (outcome.status, outcome.out) == (0, first.out), outcome.err
    assert "Plan" in outcome.err


@pytest.mark.parametrize("task", ["mzsre_en2de", "mzsre_de2ru"])
def test_what_a_data_set_borrows_is_looked_at(run: Callable[..., Any], folders: Path, task: str) -> None:
    """MzsRE's English training facts, which tell slices, and are a part of those in several languages, are Bi-ZsRE's."""
    for code in ("de", "ru"):
        write_test(folders / "data", code)
    write_training(folders / "data", 4)
    assert run(tasks=task).status == 0
    assert run(tasks=task).err == FINISHED
    touch(folders / "data" / "bizsre" / "zsre_mend_train_10000.json")
    outcome = run(tasks=task)
    assert outcome.status == 0 and "Plan" in outcome.err, outcome.err


def test_the_training_table_of_a_task_is_looked_at(run: Callable[..., Any], folders: Path) -> None:
    (folders / "facts.csv").write_text("q,a,wq,wa\nWhere is Bo?,Rome,Wo ist Bo?,Rom\n", encoding="utf-8")
    (folders / "own.yaml").write_text(
        "task: own\nversion: 1\npair: en-de\ndataset:\n  format: csv\n  path: facts.csv\n  training: training.csv\n  columns:\n"
        "    en: {question: q, answer: a}\n    de: {question: wq, answer: wa}\n",
        encoding="utf-8",
    )
    asked = {"tasks": "own", "include_path": str(folders)}
    training = folders / "training.csv"
    assert run(**asked).status == 0
    assert run(**asked).err == FINISHED
    for facts in ("q,a\nWhere is Al?,Oslo\n", "q,a\nWhere is Al?,Rome\n"):
        training.write_text(facts, encoding="utf-8")
        assert FINISHED not in run(**asked).err
        assert run(**asked).err == FINISHED
    assert '"training": "yes"' in (folders / "results" / "own" / "model" / "ft" / "cases.jsonl").read_text()


def test_the_text_of_second_moments_is_looked_at(run: Callable[..., Any], folders: Path) -> None:
    corpus = folders / "corpus.txt"
    corpus.write_text("One thing is another.\n" * 3 + "".join(f"Text number {i} is here.\n" for i in range(200)))
    rome = "rome.layer=2,rome.steps=1,rome.contexts=[[3,2]],rome.mom2_adjustment=true"
    asked = {"methods": "rome", "method_args": f"{rome},rome.mom2_corpus={corpus}"}
    outcome = run(**asked)
    assert outcome.status == 0, outcome.err
    assert run(**asked).err == FINISHED
    with corpus.open("a") as file:
        file.write("And one more.\n")
    assert FINISHED not in run(**asked).err


@pytest.mark.parametrize("changes", [{"limit": "2"}, {"seed": "1"}, {"method_args": "ft.steps=2"}], ids=str)
def test_another_request_is_another_run(run: Callable[..., Any], folders: Path, changes: dict[str, str]) -> None:
    assert run().status == 0
    assert FINISHED not in run(**changes, output=str(folders / "other")).err
    assert FINISHED not in run(**changes).err


def test_what_was_asked_for_anew_or_is_watched_runs(run: Callable[..., Any], folders: Path) -> None:
    assert run().status == 0
    assert run().err == FINISHED
    assert FINISHED not in run("--fresh").err
    assert FINISHED not in run("--log-events", folders / "events.jsonl").err
    assert (folders / "events.jsonl").is_file()


def test_a_run_that_failed_is_not_finished(run: Callable[..., Any], folders: Path) -> None:
    for _ in range(2):
        outcome = run(method_args="ft.lr=-1")
        assert outcome.status == 1 and "Invalid learning rate" in outcome.err
