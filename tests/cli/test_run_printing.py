"""What ``xkeb run`` prints."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished_cells import CELL, read, scores
from rich.cells import cell_len
from terminal import in_terminal

pytest_plugins = ("command_line", "finished_cells")

PROPERTIES = ["Reliability", "Generality", "Locality", "Portability"]
ANSI_OR_BOX = re.compile("[\x1b\u2500-\u259f\u2800-\u28ff]")


def test_piped_output_is_plain_text(finished: tuple[Path, Any]) -> None:
    _, outcome = finished
    assert not ANSI_OR_BOX.search(outcome.out + outcome.err)


def test_the_plan_comes_first_and_the_scores_are_all_that_is_on_standard_output(finished: tuple[Path, Any]) -> None:
    folder, outcome = finished
    assert re.search(r"^Plan\b", outcome.err)
    rows = list(csv.DictReader(io.StringIO(outcome.out), delimiter="\t"))
    for method in ("ft", "rome"):
        assert re.search(rf"bizsre_mini_en2zh +llama +{method} +3 +0 ", outcome.err)
        found = scores(folder / CELL / method)
        row = next(row for row in rows if (row["method"], row["when"], row["cases_of"]) == (method, "after", "all"))
        for name, languages in found.items():
            for code, metrics in languages.items():
                for metric, score in metrics.items():
                    assert row[f"{name}.{code}.{metric}"] == f"{score['mean']:.2f}"


def test_a_pipe_is_plain_whatever_the_terminal(options: dict[str, str]) -> None:
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
    assert len({line.count("\t") for line in done.stdout.splitlines()}) == 1, "nothing but rows of as many cells"
    told = r"Plan[^!]*\n\nbizsre_mini_en2zh / llama / ft: 1 cases in \d+ s\n  layer=4, steps=25, lr=0\.0005, [^\n]*\n"
    assert re.fullmatch(told, done.stderr)


def test_json_is_what_the_files_hold_and_what_failed(run: Callable[..., Any], options: dict[str, str]) -> None:
    outcome = run("--json", "--prompt", "qa", methods="kn,rome", method_args="kn.joined=false")
    assert outcome.status == 1
    told = json.loads(outcome.out)
    assert told["results"] == [read(Path(options["output"]) / CELL / "rome-qa" / "result.json")]
    ((job, error),) = [(one["job"], one["error"]) for one in told["failed"]]
    assert job == "bizsre_mini_en2zh / llama / kn" and "not --prompt qa" in error


def test_a_run_in_a_terminal_of_80_columns(options: dict[str, str]) -> None:
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    shown = in_terminal("run", *flags, "--methods", "ft,kn", "--limit", "2")
    assert shown.status == 0, shown.text
    wide = [line for line in shown.lines if cell_len(line) > 80]
    # Paths, and a job's options, are left to the terminal, so that they can be copied.
    assert all(line.startswith(("Results: ", "  ")) for line in wide), wide
    assert "job 1 of 2" in shown.text and re.search(r"job 2 of 2 +\S+ [23] of 4 cases, \d+ s left", shown.text)
    assert "loading llama" in shown.text and "editing: kn, bizsre_mini_en2zh" in shown.text
    assert any(line.split() == ["Method", *PROPERTIES] for line in shown.lines)


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


def test_verbose_says_at_the_end_where_the_time_went(run: Callable[..., Any], output: Path) -> None:
    assert "Seconds by phase" not in run().err
    told = run("--verbose", "--fresh", limit="1").err.split("Seconds by phase")[1].splitlines()
    first, second = (read(output / CELL / method / "result.json")["timing"]["phases"] for method in ("ft", "rome"))
    for method, head, line, phases in (("ft", *told[1:3], first), ("rome", *told[3:5], second)):
        whole = sum(phases.values())
        assert head == f"bizsre_mini_en2zh / llama / {method}: {whole:.1f}"
        shown = [f"{name} {seconds:.1f} ({100 * seconds / whole:.0f}%)" for name, seconds in phases.items() if seconds]
        assert line == f"  {', '.join(shown)}"
    assert first["load"] > 0 == second["load"]  # loaded once, for the first of them
