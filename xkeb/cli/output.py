"""Consoles and tables: plain text where the output is not a terminal, and no text is ever taken for markup or a command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xkeb.cli.echo import plain

PLAIN_WIDTH = 200
"""Columns of output that doesn't go to a terminal."""


class PlainConsole(Console):
    """Takes every string as text: in a table, a title or a line. What is to be bold is a `Text` or has a style."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(plain(text), **{**options, "markup": False, "emoji": False})


def make_console(*, stderr: bool = False) -> Console:
    """A console that takes text as text, and never wraps a table when piped."""
    console = PlainConsole(stderr=stderr, highlight=False)
    return console if console.is_terminal else PlainConsole(stderr=stderr, highlight=False, width=PLAIN_WIDTH)


def make_table(title: str | None, columns: Sequence[str], out: Console, right: Sequence[str] = ()) -> Table:
    """An empty table; without a line below its head where the output is not a terminal."""
    terminal = out.is_terminal
    table = Table(
        title=title,
        title_justify="left",
        box=SIMPLE_HEAD if terminal else None,
        padding=(0, 1 if terminal else 2, 0, 0),  # a box puts a space between columns
        pad_edge=not terminal,
        show_edge=False,
    )
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table
