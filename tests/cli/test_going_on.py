"""``xkeb run`` goes on where it stopped, with what was done before, and to the same result."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished_cells import CELL, TEMPLATES, answers, contents, lines, read, scores

pytest_plugins = ("command_line", "finished_cells")


def test_the_same_command_again_computes_nothing(run: Callable[..., Any], output: Path) -> None:
    before, scored = contents(output), scores(output / CELL / "rome")
    outcome = run()
    assert outcome.status == 0, outcome.err
    assert contents(output) == before
    assert scores(output / CELL / "rome") == scored
    assert re.search(r"rome +3 +3 ", outcome.err), "the plan says what is done"


def test_a_result_of_the_schema_before_is_written_anew_from_its_lines(
    run: Callable[..., Any], xkeb_cli: Callable[..., Any], output: Path
) -> None:
    path = output / CELL / "ft" / "result.json"
    before, now = contents(output), read(path)
    older = json.loads(json.dumps(now)) | {"schema_version": 5}
    for key in ("scorer", "second_turn"):
        del older[key]
    path.write_text(json.dumps(older), encoding="utf-8")
    outcome = xkeb_cli("leaderboard", "check", path)
    assert (
        outcome.status != 0 and "older than the 6 that this xkeb reads: the command that made it, given" in outcome.err
    )
    outcome = run("--verbose")
    assert outcome.status == 0, outcome.err
    assert contents(output) == before
    found = read(path)
    assert (found["scores"], found["settings"], found["seed"]) == (now["scores"], now["settings"], 0)
    assert found["timing"]["phases"]["edit"] == 0 < found["timing"]["edit_seconds"] == now["timing"]["edit_seconds"]


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


def test_the_model_before_any_edit_is_asked_once_for_all_methods(
    run: Callable[..., Any], options: dict[str, str]
) -> None:
    assert run(methods="ft").status == 0
    path = Path(options["output"]) / CELL / "before.jsonl"
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert run(methods="ft,rome", method_args=TEMPLATES).status == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    written = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    told = {line["case_id"]: [answer["text"] for answer in line["answers"]] for line in written}
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

        def two_done(path: Path = journal) -> bool:
            return path.exists() and path.read_bytes().count(b"\n") >= 2

        start_and_kill(options, two_done)
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
