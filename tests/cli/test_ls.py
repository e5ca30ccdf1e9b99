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


def test_tasks_of_groups_are_left_out_until_they_are_asked_for(xkeb_cli: Callable[..., Any]) -> None:
    def names(*arguments: str) -> list[str]:
        lines = xkeb_cli("ls", "tasks", *arguments).out.splitlines()[1:]
        return [line.split()[0] for line in lines if not line.startswith(" ")]

    every = [row["name"] for row in json.loads(xkeb_cli("ls", "tasks", "--json").out)]
    short = names()
    assert {"bizsre", "bizsre_mini", "mzsre_all2all", "bmike53_zsre"} <= set(short)
    assert not {"bizsre_en2zh", "mzsre_en2all", "bmike53_zsre_en2de"} & set(short)
    more = len(every) - (len(short) - 1)
    last = xkeb_cli("ls", "tasks").out.splitlines()[-1]
    assert last == f"{more} more stand in these groups: xkeb ls tasks NAME; all: xkeb ls tasks '*'."
    assert names("bizsre") == ["bizsre", "bizsre_en2zh", "bizsre_zh2en"]
    assert names("bizsre_zh2en") == ["bizsre_zh2en"]
    of_a_group = ["mzsre_all2all", "mzsre_en2all", "mzsre_cs2all", "mzsre_de2all"]
    assert names("mzsre_all2all")[:4] == of_a_group and len(names("mzsre_all2all")) == 13
    assert names("*") == every
    assert [row["name"] for row in json.loads(xkeb_cli("ls", "tasks", "bizsre*", "--json").out)] == [
        one for one in every if one.startswith("bizsre")
    ]
    assert "12 tasks" in xkeb_cli("ls", "tasks").out


def test_a_name_that_is_not_there(xkeb_cli: Callable[..., Any]) -> None:
    outcome = xkeb_cli("ls", "tasks", "bizsr")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == "xkeb: Unknown name among tasks: 'bizsr': did you mean 'bizsre'?\n"


def test_methods_by_a_pattern(xkeb_cli: Callable[..., Any]) -> None:
    named = [row["name"] for row in json.loads(xkeb_cli("ls", "methods", "ft-*", "--json").out)]
    assert named == ["ft-l", "ft-m"]
