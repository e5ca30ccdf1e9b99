"""What ``xkeb run`` prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished_cells import CELL, read, scores
from made_results import result

from xkeb.cli.tables import show_table
from xkeb.results.schema import Result

pytest_plugins = ("command_line", "finished_cells")

ANSI_OR_BOX = re.compile("[\x1b\u2500-\u259f\u2800-\u28ff]")


def test_piped_output_is_plain_text(finished: tuple[Path, Any]) -> None:
    _, outcome = finished
    assert not ANSI_OR_BOX.search(outcome.out + outcome.err)


def test_the_plan_comes_first_and_the_table_last(finished: tuple[Path, Any]) -> None:
    folder, outcome = finished
    plan, _, table = outcome.out.partition("(teacher forcing, f1 / em)")
    assert re.search(r"^Plan\b", plan)
    for method in ("ft", "rome"):
        assert re.search(rf"bizsre_mini_en2zh +llama +{method} +3 +0 ", plan)
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
    told = r"bizsre_mini_en2zh / llama / ft: 1 cases in \d+ s\n  layer=4, steps=25, lr=0\.0005, [^\n]*\n"
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


def test_verbose_says_at_the_end_where_the_time_went(run: Callable[..., Any], output: Path) -> None:
    assert "Seconds by phase" not in run().out
    told = run("--verbose", "--fresh", limit="1").out.split("Seconds by phase")[1].splitlines()
    assert told[1].split() == ["Task", "Model", "Method", "load", "before", "fit", "edit", "evaluate", "suite", "all"]
    first, second = (read(output / CELL / method / "result.json")["timing"]["phases"] for method in ("ft", "rome"))
    for line, phases in ((told[2], first), (told[3], second)):
        whole = sum(phases.values())
        shown = [f"{seconds:.1f} ({100 * seconds / whole:.0f}%)" for seconds in phases.values()]
        assert line.split("  ", 1)[1].split() == ["llama", line.split()[2], *" ".join(shown).split(), f"{whole:.1f}"]
    assert first["load"] > 0 == second["load"]  # loaded once, for the first of them


def test_two_protocols_stand_in_two_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """Each under its own metrics, with its own baseline; both directions of one protocol in one."""
    made = [result(), result("bizsre_zh2en", "zh", "en"), result(protocol="generate", protocol_args={"cut": "line"})]
    show_table([Result.model_validate(one) for one in made], Path("out"))
    first, second = capsys.readouterr().out.split("chinese-llama-2-7b (")[1:]
    assert first.startswith("teacher forcing, f1 / em)") and second.startswith("generate, f1_units / exact)")
    assert [(text.count("(baseline)"), text.count(" rome ")) for text in (first, second)] == [(2, 2), (1, 1)]
