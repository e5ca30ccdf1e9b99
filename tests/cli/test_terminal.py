"""What a terminal is told is text: no escape sequence, no markup, whatever stands in prompts, names and answers."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import HOSTILE, case, put, result
from rich.table import Table

from xkeb.cli import echo
from xkeb.cli.output import PlainConsole
from xkeb.cli.progress import ProgressDisplay

pytest_plugins = ("command_line",)

NASTY = "[/b][link=x]\x1b]0;title\x07\x1b[2J\r\u202e\x9b31m:smile:"
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal acts on, but for the end of a line."""


@given(st.text() | st.sampled_from(HOSTILE))
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    shown = echo.plain(text)
    assert not OBEYED.search(shown)
    shown.encode()  # raises where half a character is left


@pytest.mark.parametrize(
    "text", ["波尔多\u3000？", "می\u200cخواهم", "two\nlines", "l\u2019été\xa0!", "[b]x[/b] :smile: [/]"]
)
def test_a_harmless_text_stays_as_it_is(text: str) -> None:
    assert echo.plain(text) == text


@pytest.mark.parametrize("terminal", [False, True])
def test_a_console_takes_strings_as_text_wherever_they_stand(terminal: bool) -> None:
    out = io.StringIO()
    console = PlainConsole(file=out, force_terminal=terminal, color_system=None, width=200, highlight=False)
    table = Table(NASTY, title=NASTY, caption=NASTY)
    table.add_row(NASTY)
    console.print(table)
    console.print(NASTY, soft_wrap=True)
    seen = re.sub("\x1b\\[[0-9;]*m", "", out.getvalue()) if terminal else out.getvalue()
    assert not OBEYED.search(seen)
    assert seen.count("[/b][link=x]\\x1b]0;title\\x07\\x1b[2J\\r\\u202e\\x9b31m:smile:") == 5


def test_an_edit_of_such_texts_is_shown(
    xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    """``[/b]`` in a prompt was a traceback."""
    outcome = xkeb_cli(
        "edit", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}", "--method", "ft", "--method-args",
        "steps=1", "--prompt", f"{NASTY} capital", "--target", NASTY, "--save", tmp_path / "[/b]",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert "[/b][link=x]\\x1b" in outcome.out and f"{tmp_path}/[/b]" in outcome.out
    assert not OBEYED.search(outcome.out + outcome.err)


def test_a_task_s_texts_and_names_are_shown_as_they_are(run: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "task: '[b] :smile:'\nversion: 1\ndataset: bizsre_mini\npair: en-zh\n", encoding="utf-8"
    )
    outcome = run(tasks="[b] :smile:", include_path=str(folder), method_args="ft.steps=1")
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "results/[b] :smile:/llama/ft/result.json").is_file()
    assert "[b] :smile:" in outcome.out and "[b] :smile:" in outcome.err
    (folder / "mine.yaml").write_text(f"task: mine\n{json.dumps(NASTY)}: 1\n", encoding="utf-8")
    for outcome in (run(tasks="x", include_path=str(folder)), run(tasks=NASTY), run(limit=NASTY)):
        assert outcome.status == 2
        assert len(outcome.err.splitlines()) == 1
        assert not OBEYED.search(outcome.err)


@pytest.mark.parametrize("arguments", [["--json"], []], ids=["json", "table"])
def test_a_comparison_of_such_results(xkeb_cli: Callable[..., Any], tmp_path: Path, arguments: list[str]) -> None:
    sides = []
    for name, score in (("a", 0.0), ("b", 1.0)):
        cases = [case(i, "[/b]\u202e", prompt="\x1b[2J[/b]\x9b") for i in range(4)]
        for made in cases:
            made["probes"][1]["scores"]["f1"] = score
        sides.append(put(tmp_path / name, result(), cases))
    outcome = xkeb_cli("compare", *sides, *arguments)
    assert outcome.status == 0, outcome.err
    assert not OBEYED.search(outcome.out)
    if arguments:
        assert "\\u202e" in outcome.out and "\\u009b" in outcome.out
        assert json.loads(outcome.out)["cases"][0]["edit"]["prompt"] == "\x1b[2J[/b]\x9b"


def test_bars_and_log_messages_are_text() -> None:
    out = io.StringIO()
    with ProgressDisplay() as display:
        display.bars.console.file = out
        display._begin(NASTY, 0, 3)
        assert not OBEYED.search(display.bars.tasks[0].description)
        display.progress(NASTY, 1, 3)
        assert not OBEYED.search(display.bars.tasks[0].description)
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s", (NASTY,), None)
    assert not OBEYED.search(echo.PlainFormatter().format(record))
