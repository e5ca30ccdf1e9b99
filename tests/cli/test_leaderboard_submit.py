"""``xkeb leaderboard submit``: a folder for a pull request, of results that pass the check, or nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from result_files import Runs, read_cases, read_result, write

pytest_plugins = ("command_line", "finished_runs")


def test_results_are_copied_byte_by_byte_with_a_note_for_the_reviewer(
    xkeb_cli: Callable[..., Any], finished_runs: Runs, tmp_path: Path
) -> None:
    output = tmp_path / "hand in" / "name"
    outcome = xkeb_cli("leaderboard", "submit", finished_runs.output, output, "--data-dir", finished_runs.data)
    assert (outcome.status, outcome.err) == (0, "")
    for method in ("ft", "rome"):
        place = output / "bizsre_en2zh" / "llama" / method
        assert sorted(path.name for path in place.iterdir()) == ["cases.jsonl", "result.json"]
        for path in place.iterdir():
            assert path.read_bytes() == (finished_runs.folder(method) / path.name).read_bytes()
        assert f"{place}: bizsre_en2zh / llama / {method}: " in outcome.out
    note = (output / "README.md").read_text(encoding="utf-8")
    assert note.startswith("# Results handed in\n\n2 results")
    for part in (
        "bizsre_en2zh/llama/rome",
        "The method sees: source_edit",
        "means recomputed",
        "xkeb run --tasks bizsre_en2zh",
    ):
        assert part in note, part
    digest = hashlib.sha256((finished_runs.folder("rome") / "cases.jsonl").read_bytes()).hexdigest()
    assert digest in note
    assert xkeb_cli("leaderboard", "check", output, "--data-dir", finished_runs.data).status == 0


def test_what_does_not_pass_is_refused_in_one_sentence_and_nothing_is_written(
    xkeb_cli: Callable[..., Any], runs: Runs, tmp_path: Path
) -> None:
    result, cases = read_result(runs.folder("rome")), read_cases(runs.folder("rome"))
    result["scores"]["reliability"]["en"]["em"]["mean"] += 1.0
    write(runs.folder("rome"), result, cases)
    outcome = xkeb_cli("leaderboard", "submit", runs.output, tmp_path / "new", "--data-dir", runs.data)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert "rome/result.json doesn't pass the check: scores.reliability.en.em.mean is " in outcome.err
    assert not (tmp_path / "new").exists()


def test_folders_that_cannot_be_used_are_refused(
    xkeb_cli: Callable[..., Any], finished_runs: Runs, tmp_path: Path
) -> None:
    one = finished_runs.folder("ft")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").touch()
    (tmp_path / "empty").mkdir()
    shutil.copytree(one, tmp_path / "twin" / "ft")
    (tmp_path / "twin" / "ft" / "result.json").write_text(json.dumps(read_result(one)), encoding="utf-8")
    for arguments, said in (
        ([one, tmp_path / "full"], "full is no empty folder; choose another."),
        ([one, tmp_path / "full" / "note"], "note is no empty folder"),
        ([tmp_path / "none", tmp_path / "new"], "There is no file or folder"),
        ([tmp_path / "empty", tmp_path / "new"], "There is no result.json in"),
        ([one, tmp_path / "twin", tmp_path / "new"], "would both go to bizsre_en2zh/llama/ft; submit one of them."),
    ):
        outcome = xkeb_cli("leaderboard", "submit", *arguments, "--data-dir", finished_runs.data)
        assert outcome.status == 2 and said in outcome.err, outcome.err
        assert outcome.err.count("\n") == 1
    assert not (tmp_path / "new").exists()
    assert xkeb_cli("leaderboard", "submit", one, tmp_path / "empty", "--data-dir", finished_runs.data).status == 0
