"""Exit statuses, and what every command takes: ``--debug`` and ``--log-level``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import xkeb
from xkeb.cli import cli
from xkeb.errors import PluginError, RequestError, XkebError
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry

pytest_plugins = ("command_line",)

LOGGERS = ("xkeb", "xkeb_plugins")


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """Log levels are of the whole process."""
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def commands(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, as it is typed."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*above, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))


COMMANDS = list(commands(cli))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_takes_them(xkeb_cli: Callable[..., Any], command: tuple[str, ...]) -> None:
    assert xkeb_cli(*command, "--debug", "--log-level", "info", "--help").status == 0
    outcome = xkeb_cli(*command, "--log-level", "loud")
    assert outcome.status == 2 and "'loud'" in outcome.err and "warning" in outcome.err


def test_there_are_groups_of_commands_among_them() -> None:
    assert {("run",), ("leaderboard", "check")} <= set(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--debug", "--tasks", "qqqq", "--model", "hf"), "Unknown task 'qqqq'"),
        (("run", "--tasks", "qqqq", "--model", "hf", "--debug"), "Unknown task 'qqqq'"),
        (("leaderboard", "check", "no/such", "--debug"), "There is no file or folder no/such"),
        (("leaderboard", "--debug", "check", "no/such"), "There is no file or folder no/such"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_debug_after_a_command_s_name_shows_where_it_went_wrong(
    xkeb_cli: Callable[..., Any], arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        xkeb_cli(*arguments)


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_log_level_holds_for_the_suite_and_its_plugins(xkeb_cli: Callable[..., Any], place: str) -> None:
    for level in ("debug", "error"):
        flags = ("--log-level", level)
        arguments = (*flags, "ls", "methods") if place == "before" else ("ls", "methods", *flags)
        assert xkeb_cli(*arguments).status == 0
        assert {logging.getLogger(name).level for name in LOGGERS} == {getattr(logging, level.upper())}


ERRORS = [
    (RequestError("asked for wrongly"), 2),
    (xkeb.NotHereError("not here"), 2),
    (xkeb.TrainingError("the loss is nan"), 1),
    (PluginError("a plugin is broken"), 1),
    (XkebError("something else"), 1),
]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    class Failing:
        error: Exception

        def edit(self, backbone: Any, edits: Any) -> Any:
            raise self.error

    entry: Entry[type[Any]] = Entry(Failing, "tests")
    monkeypatch.setitem(get_plugins().methods.entries, "failing", entry)
    return Failing


@pytest.mark.parametrize(("error", "status"), ERRORS, ids=lambda value: type(value).__name__)
def test_the_status_says_whose_fault_it_is(
    xkeb_cli: Callable[..., Any],
    run: Callable[..., Any],
    options: dict[str, str],
    failing: type[Any],
    error: Exception,
    status: int,
) -> None:
    failing.error = error
    by_hand = xkeb_cli(
        "edit", "--model", "hf", "--model-args", options["model-args"], "--method", "failing", "--prompt", "Who?",
        "--target", "Ada",
    )  # fmt: skip
    assert (by_hand.status, by_hand.err) == (status, f"xkeb: {error}\n")
    ran = run(methods="failing")
    assert ran.status == status
    assert ran.err.splitlines()[-1] == f"xkeb: bizsre_mini_en2zh / llama / failing: {error}"
    assert "Traceback" not in ran.err


def test_one_wrong_request_among_finished_jobs_is_a_failure(
    run: Callable[..., Any], options: dict[str, str], failing: type[Any]
) -> None:
    failing.error = RequestError("asked for wrongly")
    assert run(methods="ft,failing").status == 1
    assert len(list(Path(options["output"]).rglob("result.json"))) == 1
