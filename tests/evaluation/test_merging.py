"""`xkeb merge`: parts of one job's cases become the result that one run would have made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished_cells import CELL, answers, read
from sealed_lines import sealed_text

from xkeb.results.untrusted import LONGEST_TEXT

pytest_plugins = ("command_line",)
pytestmark = pytest.mark.usefixtures("cache_of_this_module")
Run = Callable[..., Any]
VARY = ("timing", "command", "environment")
PARTS = ("0,3", "4,1", "2")


@pytest.fixture
def parts(run: Run, options: dict[str, str], tmp_path: Path) -> list[Path]:
    """One run of five cases in three parts, of which two hold the same case."""
    options |= {"device": "cpu", "method-args": "ft.lr=0.05,ft.steps=3", "protocol": "teacher_forcing,paper"}
    folders = [tmp_path / f"part-{number}" for number in range(len(PARTS))]
    for cases, folder in zip(PARTS, folders, strict=True):
        outcome = run(limit=None, cases=cases, output=str(folder))
        assert outcome.status == 0, outcome.err
    return folders


def without(result: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in names}


def test_parts_become_what_one_run_gives_in_all_but_times(
    run: Run, xkeb_cli: Run, parts: list[Path], tmp_path: Path
) -> None:
    whole = run(limit="5", output=str(tmp_path / "whole"))
    assert whole.status == 0, whole.err
    outcome = xkeb_cli("merge", *parts, "--output", tmp_path / "merged")
    assert outcome.status == 0, outcome.err
    assert outcome.out == whole.out, "the table"
    for method in ("ft", "ft-paper"):
        merged, alone = (tmp_path / name / CELL / method for name in ("merged", "whole"))
        assert answers(merged) == answers(alone)
        assert list(answers(merged)) == ["0", "1", "2", "3", "4"]
        assert without(read(merged / "result.json"), *VARY) == without(read(alone / "result.json"), *VARY)
        timing = read(merged / "result.json")["timing"]
        of_parts = [read(part / CELL / method / "result.json")["timing"] for part in parts]
        assert timing["wall_seconds"] == pytest.approx(sum(one["wall_seconds"] for one in of_parts))
    checked = xkeb_cli("leaderboard", "check", tmp_path / "merged")
    assert checked.status == 0, checked.out
    # A run goes on in it.
    more = run(limit="6", output=str(tmp_path / "merged"))
    assert more.status == 0, more.err
    assert len(answers(tmp_path / "merged" / CELL / "ft")) == 6


def test_each_command_that_made_answers_is_told_however_long_all_of_them_are(
    xkeb_cli: Run, parts: list[Path], tmp_path: Path
) -> None:
    commands = []
    for part in parts:
        path = part / CELL / "ft" / "result.json"
        result = read(path)
        commands.append(f"{result['command']} {'x' * (LONGEST_TEXT * 2 // 3)}")
        path.write_text(json.dumps(result | {"command": commands[-1]}), encoding="utf-8")
        (part / CELL / "ft-paper" / "result.json").unlink()
    first, second = tmp_path / "two", tmp_path / "all"
    for folders, output in ((parts[:2], first), ([first, parts[2]], second)):
        outcome = xkeb_cli("merge", *folders, "--output", output)
        assert outcome.status == 0, outcome.err
    assert read(second / CELL / "ft" / "result.json")["environment"]["answered_by"] == commands
    shown = xkeb_cli("show", second)
    assert shown.status == 0, shown.err


def test_a_case_that_is_in_two_parts_alike_counts_once(
    run: Run, xkeb_cli: Run, parts: list[Path], tmp_path: Path
) -> None:
    assert run(limit=None, cases="1,2", output=str(tmp_path / "again")).status == 0
    outcome = xkeb_cli("merge", *parts, tmp_path / "again", "--output", tmp_path / "merged")
    assert outcome.status == 0, outcome.err
    assert read(tmp_path / "merged" / CELL / "ft" / "result.json")["case_ids"] == ["0", "1", "2", "3", "4"]


def test_what_doesnt_belong_together_is_refused_and_nothing_is_written(
    run: Run, xkeb_cli: Run, parts: list[Path], tmp_path: Path
) -> None:
    def refused(*paths: Path) -> str:
        outcome = xkeb_cli("merge", *paths, "--output", tmp_path / "merged")
        assert (outcome.status, outcome.out) == (2, "")
        assert not (tmp_path / "merged").exists() and len(outcome.err.splitlines()) == 1
        said: str = outcome.err
        return said

    assert run(limit=None, cases="1", output=str(tmp_path / "other"), method_args="ft.lr=0.05,ft.steps=4").status == 0
    assert "different settings (method)" in refused(*parts, tmp_path / "other")
    assert "There is no file or folder" in refused(parts[0], tmp_path / "nowhere")
    journal = parts[0] / CELL / "ft" / "cases.jsonl"
    intact = journal.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in intact.splitlines()]
    lines[0]["probes"][0]["after"] = "Elsewhere"
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert "checksum doesn't fit" in refused(*parts)
    journal.write_text(sealed_text(lines), encoding="utf-8")
    assert run(limit=None, cases="0", output=str(tmp_path / "again")).status == 0
    assert "Case '0' has other answers in" in refused(*parts, tmp_path / "again")
    journal.write_text(intact, encoding="utf-8")
    outcome = xkeb_cli("merge", *parts, "--output", parts[0])
    assert outcome.status == 2 and "name another folder with --output" in outcome.err
