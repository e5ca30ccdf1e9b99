"""Reading a file of lines that strangers may have written: each as a record, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from xkeb.results.chain import CHAIN, START, fits
from xkeb.results.damage import DamageRecord
from xkeb.results.fields import sentences, validated
from xkeb.results.lines import CaseRecord
from xkeb.results.plain_lines import plain_value
from xkeb.results.untrusted import UnreadableError, parse_json, raw_lines

R = TypeVar("R", CaseRecord, DamageRecord)
WRONG = "its checksum doesn't fit: it, or the line before it, isn't as it was written"


@dataclass(frozen=True, slots=True)
class Line(Generic[R]):
    """A line of a file."""

    number: int
    """From 1."""
    record: R | None
    value: Any = None
    """Where there is no record: what was read instead, if anything."""
    problem: UnreadableError | ValidationError | None = None
    """Why there is no record."""
    damage: str | None = None
    """What is wrong with its checksum; None where it is right, or where nobody can say."""

    def sentences(self) -> Iterator[str]:
        """The problem, in words."""
        if isinstance(self.problem, ValidationError):
            yield from sentences(self.problem)
        elif self.problem is not None:
            yield str(self.problem)


def read_lines(path: Path, record: type[R], *, any_name: bool = False) -> Iterator[Line[R]]:
    """Each line of a file.

    Each is compared with the one before it as that says of itself, so that one damaged line is told once.

    Args:
        record: what a line is.
        any_name: names may be any text, see `xkeb.results.fields.validated`.

    Raises:
        UnreadableError: the file can't be read, or is too large to go on.
    """
    before: str | None = START
    for number, content in raw_lines(path):
        plain = None if before is None else plain_value(content, before)
        if plain is not None:
            try:
                line = Line(number, validated(record, plain, any_name=any_name))
            except ValidationError:
                pass  # the careful look may find what is worse
            else:
                before = plain[CHAIN]
                yield line
                continue
        line, before = _look_closely(number, content, before, record, any_name)
        yield line


def _look_closely(
    number: int, content: bytes, before: str | None, record: type[R], any_name: bool
) -> tuple[Line[R], str | None]:
    """A line, and its checksum as it says itself; None where nobody knows, and neither whether the next one fits."""
    try:
        value = parse_json(content)
    except UnreadableError as error:
        return Line(number, None, problem=error), None
    wrong = before is not None and isinstance(value, dict) and not fits(value, before)
    stated = value.get(CHAIN) if isinstance(value, dict) else None
    after = stated if isinstance(stated, str) else None
    try:
        found, problem = validated(record, value, any_name=any_name), None
    except ValidationError as error:
        found, problem = None, error
    return Line(number, found, value, problem, WRONG if wrong else None), after
