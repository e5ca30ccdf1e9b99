"""The command line. One file a command; none imports torch before it must."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import click

from xkeb.cli.echo import PlainFormatter, complain
from xkeb.cli.options import add_common_options
from xkeb.cli.stopping import exit_status, stopping_in_order
from xkeb.cli.telling import Telling
from xkeb.cli.usage import COMMANDS_ELSEWHERE, usage_sentence
from xkeb.errors import PluginWarning, RequestError, unknown

COMMANDS = (
    "run",
    "submit",
    "train",
    "tune",
    "edit",
    "show",
    "compare",
    "rescore",
    "merge",
    "judge",
    "plot",
    "leaderboard",
    "ls",
    "validate",
    "data",
    "new",
    "doctor",
)


class LazyGroup(click.Group):
    """A group whose commands are modules, each imported when it is asked for."""

    def __init__(self, *args: Any, modules: dict[str, str], **kwargs: Any) -> None:
        """
        Args:
            modules: command -> module that has it as ``command``.
        """
        super().__init__(*args, **kwargs)
        self.modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.modules:
            return None
        command: click.Command = importlib.import_module(self.modules[cmd_name]).command
        return add_common_options(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = args[0] in self.modules or args[0].startswith("-")
        if not known and not ctx.resilient_parsing:  # which is a shell that asks how a word may go on
            if ctx.parent is None and args[0] in COMMANDS_ELSEWHERE:
                raise RequestError(f"Unknown command {args[0]!r}: did you mean {COMMANDS_ELSEWHERE[args[0]]!r}?")
            raise unknown("command" if ctx.parent is None else f"command of {ctx.info_name}", args[0], self.modules)
        return super().resolve_command(ctx, args)


class RootGroup(Telling, LazyGroup):
    """The whole command line."""


@click.group(
    cls=RootGroup,
    modules={name: f"xkeb.cli.commands.{name}" for name in COMMANDS},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(package_name="xkeb")
def cli() -> None:
    """Cross-lingual knowledge editing: change a fact in one language, measure it in two."""


add_common_options(cli)


def main() -> None:
    """The entry point. Exit status: 0 done, 1 something failed, 2 the request is wrong, 128 and more stopped by a signal."""
    atexit.register(gc.freeze)  # else Python looks for garbage among all that torch brought: a second of every command
    with warnings.catch_warnings():
        warnings.showwarning = _telling(warnings.showwarning)
        if logging.lastResort is not None:  # prints what is logged where nobody said how
            logging.lastResort.setFormatter(PlainFormatter())
        with stopping_in_order():
            _main()


def _telling(show: Callable[..., None]) -> Callable[..., None]:
    """Tells of a plugin that is left out in its sentence alone, and of anything else as ever."""

    def tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, PluginWarning):
            complain(message)
        else:
            show(message, category, *where, **more)

    return tell


def _main() -> None:
    try:
        sys.exit(cli(prog_name="xkeb", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        complain(usage_sentence(error))
        sys.exit(error.exit_code)
    except click.Abort as error:
        with contextlib.suppress(OSError):  # the terminal may be gone
            complain("stopped; the same command goes on from here.")
        sys.exit(exit_status(error.__cause__))
