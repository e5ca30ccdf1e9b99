"""``xkeb ls`` with tasks of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

pytest_plugins = ("command_line",)


def test_tasks_of_one_s_own_are_listed(xkeb_cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: my_rivers\nversion: 1\ndataset: bizsre_mini\npair: en-zh\n")
    listed = {row["name"] for row in json.loads(xkeb_cli("ls", "tasks", "--json").out)}
    more = {row["name"] for row in json.loads(xkeb_cli("ls", "tasks", "--json", "--include-path", tmp_path).out)}
    assert more == listed | {"my_rivers"}
    assert "my_rivers" in xkeb_cli("ls", "--include-path", tmp_path).out


def test_a_folder_that_brings_nothing_to_the_list_is_refused(xkeb_cli: Callable[..., Any], tmp_path: Path) -> None:
    outcome = xkeb_cli("ls", "methods", "--include-path", tmp_path)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == "xkeb: --include-path brings more tasks; there are none among methods.\n"
    outcome = xkeb_cli("ls", "tasks", "--include-path", tmp_path / "no")
    assert outcome.status == 2 and outcome.err.startswith("xkeb: There is no task folder ")
