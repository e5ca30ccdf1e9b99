"""Task files, run files and options that nobody writes by chance: one sentence, exit status 2, nothing begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ("command_line",)

GOOD = "task: mine\nversion: 1\ndataset: bizsre_mini\n"
TASKS = {
    "a date": GOOD + "pair: 2001-99-99\n",
    "a date by its tag": GOOD + "pair: !!timestamp 2001-99-99\n",
    "a long integer": GOOD.replace("1", "9" * 5000) + "pair: en-zh\n",
    "an integer": GOOD.replace("1", "9" * 18) + "pair: en-zh\n",
    "an empty integer": GOOD.replace("1", "!!int ''") + "pair: en-zh\n",
    "depth": GOOD + "pair: " + "[" * 5000 + "]" * 5000,
    "an alias": GOOD + "pair: en-zh\ndescription: &a [*a]\n",
    "a NUL in a path": 'task: mine\nversion: 1\npair: en-zh\ninclude: "a\\0b"\n',
    "a NUL in a table's path": 'task: mine\nversion: 1\npair: en-zh\ndataset: {format: csv, path: "a\\0b"}\n',
    "a width": GOOD + 'pairs: [en-zh]\ndescription: "{source:>3000000000}"\n',
    "an attribute": GOOD + 'pairs: [en-zh]\ndescription: "{source.__class__}"\n',
    "a conversion": GOOD + 'pairs: [en-zh]\ndescription: "{source!r}"\n',
    "a name that is too long": f"task: mine\nversion: 1\npair: en-zh\ninclude: {'w' * 5000}\n",
}


def sentence(outcome: Any) -> str:
    assert outcome.status == 2, outcome
    (line,) = outcome.err.splitlines()
    assert line.startswith("xkeb: ")
    return str(line)


@pytest.mark.parametrize("what", TASKS)
def test_a_task_file(xkeb_cli: Callable[..., Any], tmp_path: Path, what: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TASKS[what], encoding="utf-8")
    assert str(tmp_path) in sentence(xkeb_cli("validate", path))


@pytest.mark.parametrize(
    "text",
    ["limit: !!int ''\n", f"limit: {'9' * 5000}\n", "tasks: &a [*a]\n", "tasks: " + "[" * 5000, 'output: "a\\0b"\n',
     "method-args: {ft.lr: .inf}\n", "seed: !!timestamp 2001-99-99\n"],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_run_file(run: Callable[..., Any], tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    assert str(path) in sentence(run("--config", path))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "value",
    ['"a\\0b"', "9" * 5000, "!!int ''", "&a [*a]", "[" * 30 + "]" * 30, ".nan", "\udcff"],
    ids=lambda text: ascii(text[:9]),
)
def test_an_option_of_a_model(run: Callable[..., Any], tmp_path: Path, value: str) -> None:
    assert sentence(run(model_args=f"path={value}")).startswith("xkeb: --model-args gives 'path' a ")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("option", ["config", "include_path", "data_dir", "settings"])
def test_a_path_that_no_file_system_has(run: Callable[..., Any], tmp_path: Path, option: str) -> None:
    outcome = run(**{option: "w" * 5000, **({"tasks": "bizsre_en2zh"} if option == "data_dir" else {})})
    assert outcome.status in (1, 2)
    assert len(outcome.err.splitlines()) == 1
