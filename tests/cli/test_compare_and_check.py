"""``xkeb compare`` and ``xkeb leaderboard check``: exit status, streams, and what strangers' text does to a terminal."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from result_files import Runs, read_cases, read_result, write

pytest_plugins = ("command_line", "finished_runs")

ANSI_OR_BOX = re.compile("[\x1b\u2500-\u259f]")
HOSTILE = "<b>[red]x[/red]</b> {{7*7}} \x1b[2J\n::error::"


@pytest.fixture
def hostile(runs: Runs) -> Runs:
    """Every prompt and answer of both results is what a terminal or a page might obey."""
    for method in ("ft", "rome"):
        cases = read_cases(runs.folder(method))
        for probe in (probe for case in cases for probe in case["probes"]):
            for name in ("prompt", "reference", "before", "after"):
                probe[name] += HOSTILE
        write(runs.folder(method), read_result(runs.folder(method)), cases)
    return runs


# check -----------------------------------------------------------------------------------------------------------------


def test_a_folder_of_good_results_is_a_line_each(xkeb_cli: Callable[..., Any], finished_runs: Runs) -> None:
    outcome = xkeb_cli("leaderboard", "check", finished_runs.output, "--data-dir", finished_runs.data)
    assert (outcome.status, outcome.err) == (0, "")
    first, second = outcome.out.splitlines()
    assert first.startswith(f"{finished_runs.folder('ft') / 'result.json'}: bizsre_en2zh / llama / ft: 7 cases, ")
    assert second.startswith(f"{finished_runs.folder('rome') / 'result.json'}: bizsre_en2zh / llama / rome: 6 cases, ")


def test_a_bad_one_among_good_ones_is_named_and_the_others_are_still_told(
    xkeb_cli: Callable[..., Any], runs: Runs
) -> None:
    result, cases = read_result(runs.folder("rome")), read_cases(runs.folder("rome"))
    result["scores"]["generality"]["zh"]["f1"]["mean"] += 20
    write(runs.folder("rome"), result, cases)
    files = [runs.folder(method) / "result.json" for method in ("rome", "ft")]
    outcome = xkeb_cli("leaderboard", "check", *files, "--data-dir", runs.data)
    assert outcome.status == 1
    assert outcome.out.startswith(f"{files[1]}: ") and len(outcome.out.splitlines()) == 1
    assert outcome.err.startswith(f"xkeb: {files[0]}: scores.generality.zh.f1.mean is stated as ")
    assert len(outcome.err.splitlines()) == 1


def test_of_many_problems_the_first_are_shown_unless_all_are_asked_for(
    xkeb_cli: Callable[..., Any], hostile: Runs
) -> None:
    file = hostile.folder("rome") / "result.json"
    outcome = xkeb_cli("leaderboard", "check", file, "--data-dir", hostile.data)
    assert outcome.status == 1
    *shown, last = outcome.err.splitlines()
    assert len(shown) == 20
    more = re.fullmatch(r"xkeb: .*: (\d+) more problems \(--all\)\.", last)
    assert more
    every = xkeb_cli("leaderboard", "check", file, "--all", "--data-dir", hostile.data)
    assert len(every.err.splitlines()) == 20 + int(more[1])
    assert all(line.isprintable() and line.startswith(f"xkeb: {file}: ") for line in every.err.splitlines())


def test_a_file_s_own_name_may_be_hostile_too(xkeb_cli: Callable[..., Any], runs: Runs, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(runs.folder("ft"), tmp_path / "a\n::error::\x1b[2J"))
    (folder / "result.json").write_text("{}", encoding="utf-8")
    outcome = xkeb_cli("leaderboard", "check", folder)
    (line,) = outcome.err.splitlines()
    assert line.isprintable()
    assert "a\\n::error::\\x1b[2J" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["leaderboard", "check", "no/such/file"], "There is no file or folder no/such/file."),
        (["leaderboard", "check", "."], "There is no result.json in ."),
        (["leaderboard", "chek", "."], "Unknown command of leaderboard 'chek': did you mean 'check'?"),
        (["leaderboard", "check"], "FILE|FOLDER"),
        (["compare", "no/such/file", "."], "There is no file or folder no/such/file."),
        (["compare", "."], "'B'"),
    ],
    ids=" ".join,
)
def test_a_request_that_is_wrong(
    xkeb_cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = xkeb_cli(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert message in line


# compare ---------------------------------------------------------------------------------------------------------------


def test_a_comparison_is_a_plain_table_where_it_is_piped(xkeb_cli: Callable[..., Any], finished_runs: Runs) -> None:
    outcome = xkeb_cli("compare", finished_runs.folder("ft"), finished_runs.folder("rome"), "--cases", "1")
    assert (outcome.status, outcome.err) == (0, "")
    assert not ANSI_OR_BOX.search(outcome.out)
    assert "6 cases in both, 1 only in A, 0 only in B. Those in both have 6 subjects." in outcome.out
    rows = [line.split() for line in outcome.out.splitlines() if re.match(r"\w+ +(en|zh) +(f1|em)\w* ", line)]
    assert len(rows) == 28
    for cells in rows:
        pairs = 5 if cells[:2] == ["locality", "en"] else 6  # one answer before the edit is blank
        assert cells[3] == str(pairs)
        a, b, difference = map(float, cells[4:7])
        assert b - a == pytest.approx(difference, abs=0.011)
        assert sum(map(int, cells[-1].split("/"))) == pairs
    assert "1 questions of locality are left out: they are compared with a blank answer." in outcome.out
    assert outcome.out.count("\nCase ") == 1
    said = " ".join(outcome.out.split())
    assert "percentile bootstrap" in said and "permutation test" in said and "Holm's adjustment" in said
    assert "2,000 resamples of subjects" in said and "sign flips of subjects" in said
    assert "Records for" not in outcome.out  # nobody asked
    assert [len(cells) for cells in rows[:2]] == [13, 14]  # McNemar's test of em, and none of f1


def test_power_says_how_many_records_would_show_a_difference(xkeb_cli: Callable[..., Any], finished_runs: Runs) -> None:
    folders = (finished_runs.folder("ft"), finished_runs.folder("rome"))
    outcome = xkeb_cli("compare", *folders, "--cases", "0", "--power")
    assert (outcome.status, outcome.err) == (0, "")
    _, table = outcome.out.split("Design effect", 1)
    assert "Records for 2" in table.splitlines()[0]
    needed = [line.split()[-1] for line in table.splitlines() if re.match(r"\w+ +(en|zh) +(f1|em)\w* ", line)]
    assert len(needed) == 28
    found = json.loads(xkeb_cli("compare", *folders, "--power", "--points", "4", "--json").out)
    for row, text in zip(found["rows"], needed, strict=True):
        power = row["power"]
        assert power["points"] == 4
        if power["records"] is None:
            assert text == "unknown" and power["design_effect"] is None
        else:  # half the difference needs four times the records
            assert power["records"] == pytest.approx(int(text.replace(",", "")) / 4, abs=1)
            assert power["records"] == math.ceil(7.848879734 * power["deviation"] ** 2 / 16)
    assert any(row["power"]["records"] for row in found["rows"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--points", "3"], "--points needs --power."),
        (["--power", "--points", "0"], "--points must be from 0.01 to 100, not 0."),
        (["--power", "--points", "nan"], "--points must be from 0.01 to 100, not nan."),
        (["--power", "--points", "two"], "'two' is not a valid float"),
    ],
    ids=" ".join,
)
def test_points_that_make_no_sense_are_refused(
    xkeb_cli: Callable[..., Any], finished_runs: Runs, options: list[str], said: str
) -> None:
    outcome = xkeb_cli("compare", finished_runs.folder("ft"), finished_runs.folder("rome"), *options)
    assert (outcome.status, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert said in line


def test_only_some_metrics(xkeb_cli: Callable[..., Any], finished_runs: Runs) -> None:
    folders = (finished_runs.folder("ft"), finished_runs.folder("rome"))
    found = json.loads(xkeb_cli("compare", *folders, "--metrics", "em,f1", "--json").out)
    assert found["metrics"] == ["em", "f1"] and {row["metric"] for row in found["rows"]} == {"em", "f1"}
    scores = [abs(answer["scores"][1] - answer["scores"][0]) for case in found["cases"] for answer in case["answers"]]
    assert set(scores) == {1.0}, "cases are shown by the first"
    one = json.loads(xkeb_cli("compare", *folders, "--metrics", "em", "--json").out)
    assert [row["p"] for row in one["rows"]] == [row["p"] for row in found["rows"] if row["metric"] == "em"]
    for names, message in (
        ("emm", "Unknown metric of both: 'emm': did you mean 'em'?"),
        (",", "--metrics names nothing."),
    ):
        outcome = xkeb_cli("compare", *folders, "--metrics", names)
        assert (outcome.status, outcome.out, outcome.err) == (2, "", f"xkeb: {message}\n")


def test_a_slice_has_its_own_cases_only(xkeb_cli: Callable[..., Any], finished_runs: Runs) -> None:
    folders = (finished_runs.folder("ft"), finished_runs.folder("rome"))
    counted = {}
    for name in ("training=yes", "training=no"):
        outcome = xkeb_cli("compare", *folders, "--slice", name, "--json")
        assert outcome.status == 0, outcome.err
        found = json.loads(outcome.out)
        assert found["slice"] == name
        counted[name] = found["shared_cases"]
    told = [case["slices"]["training"] for case in read_cases(folders[1]) if case["status"] == "ok"]
    assert counted == {f"training={value}": told.count(value) for value in ("yes", "no")}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("answers=difer", "Unknown slice of {}: 'answers=difer': did you mean 'answers=differ'?"),
        ("relation=P36", "Unknown slice of {}: 'relation=P36': "),
        ("answers", "Unknown slice of {}: 'answers': "),
    ],
)
def test_a_slice_that_the_data_cannot_tell_is_refused(
    xkeb_cli: Callable[..., Any], finished_runs: Runs, name: str, said: str
) -> None:
    folders = (finished_runs.folder("ft"), finished_runs.folder("rome"))
    outcome = xkeb_cli("compare", *folders, "--slice", name)
    assert (outcome.status, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"xkeb: {said.format(folders[0] / 'result.json')}")


def test_a_comparison_as_json(xkeb_cli: Callable[..., Any], finished_runs: Runs) -> None:
    outcome = xkeb_cli("compare", finished_runs.folder("ft"), finished_runs.folder("rome"), "--cases", "2", "--json")
    assert (outcome.status, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert (found["shared_cases"], found["only_a"], found["only_b"], found["warnings"]) == (6, 1, 0, [])
    assert (found["a"]["method"]["name"], found["b"]["method"]["name"]) == ("ft", "rome")
    assert (found["a"]["cases"], found["b"]["cases"]) == (7, 6)
    assert len(found["rows"]) == 28 and len(found["cases"]) == 2
    assert set(found["rows"][0]) == {
        "property", "language", "metric", "pairs", "clusters", "a", "b", "difference", "ci95", "p", "exact", "p_holm",
        "mcnemar", "wins", "ties", "losses", "power",
    }  # fmt: skip
    assert set(found["cases"][0]["answers"][0]) == {
        "property", "language", "prompt", "reference", "before", "after", "scores",
    }  # fmt: skip


def test_a_warning_goes_to_the_other_stream_and_nothing_is_refused(xkeb_cli: Callable[..., Any], runs: Runs) -> None:
    result = read_result(runs.folder("rome"))
    result["model"]["dtype"] = "bfloat16"
    write(runs.folder("rome"), result, read_cases(runs.folder("rome")))
    outcome = xkeb_cli("compare", runs.folder("ft"), runs.folder("rome"))
    assert outcome.status == 0
    assert outcome.err.startswith("xkeb: warning: They differ in model: ")
    assert "6 cases in both" in outcome.out


def test_two_groups_are_refused_with_a_sentence(xkeb_cli: Callable[..., Any], runs: Runs) -> None:
    result = read_result(runs.folder("rome"))
    result["prompt"] = "qa"
    write(runs.folder("rome"), result, read_cases(runs.folder("rome")))
    outcome = xkeb_cli("compare", runs.folder("ft"), runs.folder("rome"))
    assert (outcome.status, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert "differ in prompt (plain and qa); --across prompt shows the gap between the two styles." in line


def test_strangers_text_is_shown_as_text(xkeb_cli: Callable[..., Any], hostile: Runs) -> None:
    outcome = xkeb_cli("compare", hostile.folder("ft"), hostile.folder("rome"))
    assert outcome.status == 0, outcome.err
    assert "\x1b" not in outcome.out
    flat = re.sub(r"\s", "", outcome.out)  # a cell may be folded
    assert "[red]" in outcome.out and "{{7*7}}" in outcome.out
    assert "::error::" in flat and not re.search("^::error", outcome.out, re.MULTILINE)


RUN = """
import sys
from xkeb.cli import cli
try:
    cli(sys.argv[1:], standalone_mode=False)
except SystemExit:
    pass
print("torch" in sys.modules)
"""


def test_neither_command_imports_torch(finished_runs: Runs) -> None:
    """A check of many files starts at once."""
    ft, rome = finished_runs.folder("ft"), finished_runs.folder("rome")
    commands: list[list[str | Path]] = [
        ["compare", ft, rome],
        ["leaderboard", "check", ft, "--data-dir", finished_runs.data],
    ]
    for arguments in commands:
        done = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "False"
        assert len(done.stdout.splitlines()) > 1, "it did something"
