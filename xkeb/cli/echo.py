"""What goes to the terminal without rich: text in which nothing is left that a terminal would obey."""

from __future__ import annotations

import json
import logging
from typing import Any

import click

from xkeb.utils.names import is_shown


def plain(text: str) -> str:
    """The text with every character spelt out that a terminal could take for a command: escape sequences, carriage returns,
    changes of direction, half characters. Lines and spaces stay."""
    if text.isprintable():
        return text
    return "".join(one if _harmless(one) else _spelt_out(one) for one in text)


def _harmless(character: str) -> bool:
    return character == "\n" or is_shown(character)


def _spelt_out(character: str) -> str:
    return "    " if character == "\t" else character.encode("unicode_escape", "surrogatepass").decode()


def plain_line(text: str) -> str:
    """The same on one line, so that no text can pretend to be another line."""
    return plain(text).replace("\n", "\\n")


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Prints a text, whatever is in it, and a line end."""
    click.echo(plain(text), err=err, nl=nl)


def complain(sentence: object) -> None:
    """Prints what is wrong, as one line on the standard error stream."""
    click.echo(plain_line(f"xkeb: {sentence}"), err=True)


def say_json(value: Any) -> None:
    """Prints JSON that means the same, with what isn't printable as the escapes that JSON has for it."""
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False, default=str)
    click.echo("".join(one if _harmless(one) else json.dumps(one)[1:-1] for one in text))


class PlainFormatter(logging.Formatter):
    """Log messages, tracebacks of plugins among them, as `plain` text."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))
