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


def show_prose(out: Console, text: str, style: str = "") -> None:
    """Sentences: broken between words on a terminal, whole elsewhere."""
    out.print(text, style=style or None, soft_wrap=not out.is_terminal)


def show_columns(out: Console, keys: Sequence[str], rows: Sequence[Sequence[str | Text]], right: Sequence[str]) -> None:
    """A table, in as many pieces below each other as the terminal's width asks for; each has the first columns.

    Args:
        keys: heads of the columns that every piece has.
        rows: their cells, then those of `right`.
        right: heads of the other columns.
    """
    pieces: list[list[int]] = []
    for number in range(len(right)):
        if not pieces or not _fits(out, keys, rows, right, [*pieces[-1], number]):
            pieces.append([])
        pieces[-1].append(number)
    for i, piece in enumerate(pieces):
        if i:
            out.print()
        out.print(_piece(out, keys, rows, right, piece))


def _fits(
    out: Console, keys: Sequence[str], rows: Sequence[Sequence[str | Text]], right: Sequence[str], piece: Sequence[int]
) -> bool:
    table = _piece(out, keys, rows, right, piece)
    return (
        len(piece) == 1
        or out.measure(table, options=out.options.update(max_width=10 * PLAIN_WIDTH)).maximum <= out.width
    )


def _piece(
    out: Console, keys: Sequence[str], rows: Sequence[Sequence[str | Text]], right: Sequence[str], piece: Sequence[int]
) -> Table:
    heads = [right[number] for number in piece]
    table = make_table(None, (*keys, *heads), out, right=heads)
    for row in rows:
        table.add_row(*row[: len(keys)], *(row[len(keys) + number] for number in piece))
    return table


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
