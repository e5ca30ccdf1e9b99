"""``--executor ray``: real runs, by workers of an own cluster on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from deadly_plugin import Run
from finished_cells import CELL, answers, read
from short_options import PAPER, short_options

import xkeb

pytest.importorskip("ray")
pytest_plugins = ("command_line", "deadly_plugin")
pytestmark = pytest.mark.usefixtures("cache_of_this_module")

TIMES = ("timing", "command", "environment", "case_ids")
"""What two runs of one job needn't have in common."""


def result(folder: Path) -> dict[str, Any]:
    return {name: value for name, value in read(folder / "result.json").items() if name not in TIMES}


def test_two_workers_give_what_one_process_gives_for_every_method_of_the_paper(
    run: Callable[..., Any],
    xkeb_cli: Callable[..., Any],
    options: dict[str, str],
    tiny_folders: dict[str, Path],
    tiny_bert: Path,
    tmp_path: Path,
) -> None:
    args = [
        f"{method}.{name}={json.dumps(value)}"
        for method in PAPER
        for name, value in short_options(method, tiny_bert, tiny_folders["llama"]).items()
    ]
    options |= {"methods": ",".join(PAPER), "method-args": ",".join(args), "device": "cpu"}
    common = ("--train-size", "30")
    outcome = run("--executor", "ray", "--workers", "2", *common, limit="6", output=str(tmp_path / "ray"))
    assert outcome.status == 0, outcome.err
    alone = run(*common, limit="6", output=str(tmp_path / "local"))
    assert alone.status == 0, alone.err
    assert outcome.out == alone.out, "the table"
    for method in PAPER:
        there, here = (tmp_path / name / CELL / method for name in ("ray", "local"))
        assert answers(there) == answers(here)
        assert result(there) == result(here)
        assert read(there / "result.json")["case_ids"] == read(here / "result.json")["case_ids"]
        assert read(there / "result.json")["environment"]["workers"] == 2
    checked = xkeb_cli("leaderboard", "check", tmp_path / "ray")
    assert checked.status == 0, checked.out + checked.err


@pytest.mark.timeout(1200)
def test_a_lost_workers_cases_go_to_another_and_a_case_that_kills_twice_is_given_up(
    with_deadly: Run, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    victim = next(iter(xkeb.load_task("bizsre_mini_en2zh")))
    args = []
    for method, times in (("deadly", 1), ("deadlier", 99)):
        (tmp_path / method).mkdir()
        args.append(
            f"{method}.subject={json.dumps(victim.edit.subject)},{method}.marks={tmp_path / method},{method}.times={times}"
        )
    output = tmp_path / "out"
    common: list[object] = ["run", "--tasks", "bizsre_mini_en2zh", "--model", "hf"]
    common += ["--model-args", f"path={tiny_folders['llama']}"]
    common += ["--methods", "deadlier,deadly", "--method-args", ",".join(args), "--device", "cpu", "--output", output]
    done = with_deadly(*common, "--limit", 5, "--batch-size", 5, "--executor", "ray", "--workers", 1)
    assert done.returncode == 0, done.stderr
    once, always = (read(output / CELL / method / "result.json") for method in ("deadly", "deadlier"))
    assert once["case_ids"] == [str(number) for number in range(5)] and once["skipped"] == []
    assert [case_id for case_id in once["case_ids"] if case_id != victim.id] == always["case_ids"]
    (skipped,) = always["skipped"]
    assert skipped["case_id"] == victim.id
    assert skipped["reason"].startswith("its worker was lost 2 times: ")
    assert len(list((tmp_path / "deadlier").iterdir())) == 5, "with 5, 3, 2 and twice with 1 case in hand"
    # Another number of workers goes on, and then this process alone; nobody asks the given-up case again.
    kills = 5
    first = {method: answers(output / CELL / method) for method in ("deadly", "deadlier")}
    for limit, how in ((8, ["--executor", "ray", "--workers", 2]), (9, [])):
        done = with_deadly(*common, "--limit", limit, *how)
        assert done.returncode == 0, done.stderr
        for method, lines in first.items():
            more = answers(output / CELL / method)
            assert len(more) == limit and {case_id: more[case_id] for case_id in lines} == lines
    assert len(list((tmp_path / "deadlier").iterdir())) == kills


@pytest.mark.timeout(1200)
def test_a_case_is_tried_once_more_where_workers_are_lost_without_it_too(
    with_deadly: Run, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    cases = list(xkeb.load_task("bizsre_mini_en2zh"))
    (tmp_path / "marks").mkdir()
    given = {
        "subject": cases[0].edit.subject,
        "also": cases[4].edit.subject,
        "marks": str(tmp_path / "marks"),
        "times": 5,
    }
    output = tmp_path / "out"
    done = with_deadly(
        "run", "--tasks", "bizsre_mini_en2zh", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}",
        "--methods", "deadly", "--method-args", ",".join(f"deadly.{name}={json.dumps(one)}" for name, one in given.items()),
        "--limit", 5, "--batch-size", 5, "--executor", "ray", "--workers", 1, "--device", "cpu", "--output", output,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "raylet" not in done.stdout + done.stderr, "Ray tells of lost workers on the standard output"
    assert len(list((tmp_path / "marks").iterdir())) == 6, (
        "with 5, 3, 2 and twice with 1 case in hand, and once without it"
    )
    found = read(output / CELL / "deadly" / "result.json")
    assert found["skipped"] == [] and sorted(found["case_ids"]) == [str(number) for number in range(5)]


def test_workers_that_cant_load_their_model_fail_the_job_with_what_became_of_them(
    with_deadly: Run, tmp_path: Path
) -> None:
    common = ["run", "--tasks", "bizsre_mini_en2zh", "--methods", "ft", "--limit", 2, "--output", tmp_path / "out"]
    common += ["--executor", "ray", "--workers", 1]
    done = with_deadly(*common, "--model", "unloadable")
    assert done.returncode == 1
    assert "No worker could be started: " in done.stderr and "Traceback" not in done.stderr
    late = with_deadly(*common, "--model", "unloadable", "--executor-args", "start_seconds=0.01")
    assert late.returncode == 1
    assert "it had not loaded the model after 0.01 s; the cluster has 1 CPU, 0 GPU" in late.stderr, late.stderr


def ray_processes() -> set[int]:
    return {one.pid for one in psutil.Process().children(recursive=True) if "ray" in one.name()}


def processes_below(folder: Path) -> list[list[str]]:
    """Command lines that name a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it is gone already
            line = process.cmdline()
            if any(str(folder) in part for part in line):
                found.append(line)
    return found


def raylets_below(folder: Path) -> bool:
    return any("raylet" in Path(line[0]).name for line in processes_below(folder))


def test_a_plan_that_is_refused_ends_what_was_begun_for_it(run: Callable[..., Any]) -> None:
    before = ray_processes(), set(Path(tempfile.gettempdir()).glob("xkeb-ray-*"))
    outcome = run("--executor", "ray", tasks="no_such_task")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("xkeb: Unknown task 'no_such_task'") and len(outcome.err.splitlines()) == 1
    assert (ray_processes(), set(Path(tempfile.gettempdir()).glob("xkeb-ray-*"))) == before


@pytest.fixture
def folders() -> Iterator[Path]:
    """For temporary files, with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="x-", dir="/tmp") as name:
        yield Path(name)


@pytest.mark.parametrize("moment", ["torch is imported", "the run is planned"])
def test_ctrl_c_before_the_first_job_ends_what_was_begun_for_it(
    options: dict[str, str], folders: Path, moment: str
) -> None:
    options |= {"executor": "ray", "workers": "1"}
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    heeding = "import signal; signal.signal(2, signal.default_int_handler); from xkeb.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", heeding, "run", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "TMPDIR": str(folders)},
    )  # fmt: skip
    while not (list(folders.glob("xkeb-ray-*")) if moment == "torch is imported" else raylets_below(folders)):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert told.splitlines()[-1] == "xkeb: stopped; the same command goes on from here."
    assert "Traceback" not in told and "Fatal" not in told
    deadline = time.monotonic() + 30
    while left := processes_below(folders):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert not list(folders.glob("xkeb-ray-*"))


def test_a_cluster_that_is_there_is_joined_after_the_plan_and_must_answer(run: Callable[..., Any]) -> None:
    nobody = ["--executor", "ray", "--executor-args", "address=127.0.0.1:1"]
    outcome = run(*nobody, tasks="no_such_task")
    assert outcome.status == 2 and outcome.err.startswith("xkeb: Unknown task 'no_such_task'")
    outcome = run(*nobody)
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1].startswith("xkeb: There is no Ray cluster at 127.0.0.1:1: ")


def test_ctrl_c_finishes_the_chunks_in_hand_and_says_how_to_go_on(options: dict[str, str]) -> None:
    options |= {"method-args": "ft.steps=200,ft.stop_loss=0", "limit": "48", "batch-size": "3", "device": "cpu"}
    options |= {"executor": "ray", "workers": "2"}
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    heeding = "import os, signal, sys; signal.signal(2, signal.default_int_handler); from xkeb.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", heeding, "run", *flags, "--log-events", "/dev/stdout"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("phase") == "edit" and event["event"] == "case_done":
            break
    workers = [one for one in psutil.Process(process.pid).children(recursive=True) if "ray::WorkerPro" in one.name()]
    assert {one.nice() for one in workers} == {os.nice(0)}, "they give way to nobody"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    _, told = process.communicate(timeout=300)
    assert process.returncode == 130, told
    assert told.splitlines()[-1] == "xkeb: stopped; the same command goes on from here."
    assert "Stopping: the chunks in hand are finished first" in told and "Traceback" not in told
    done = (Path(options["output"]) / CELL / "ft" / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    assert 3 <= len(done) < 48 and len(done) % 3 == 0, "whole chunks"
