"""The command line. One file a command; none imports torch before it must."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from typing import Any

import click

from xkeb.errors import PluginWarning, XkebError, unknown

COMMANDS = ("run", "train", "edit", "compare", "leaderboard", "ls", "validate", "data", "new", "doctor")


class LazyGroup(click.Group):
    """Imports a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"xkeb.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise unknown("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="xkeb")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Cross-lingual knowledge editing: change a fact in one language, measure it in two."""


def main() -> None:
    """The entry point. Exit status: 0 done, 1 some cells failed, 2 the request is wrong."""
    with warnings.catch_warnings():
        warnings.showwarning = _telling(warnings.showwarning)
        _main()


def _telling(show: Callable[..., None]) -> Callable[..., None]:
    """Tells of a plugin that is left out in its sentence alone, and of anything else as ever."""

    def tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, PluginWarning):
            click.echo(f"xkeb: {message}", err=True)
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
        click.echo(f"xkeb: {' '.join(error.format_message().split())}", err=True)
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("xkeb: stopped; the same command goes on from here.", err=True)
        sys.exit(130)
    except XkebError as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"xkeb: {error}", err=True)
        sys.exit(2)
