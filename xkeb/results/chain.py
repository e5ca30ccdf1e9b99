"""The checksum of a line: over the line itself and over the checksum of the line before it.

A flipped bit, a changed text, a line that is exchanged, repeated or left out, all show at the first line that doesn't fit. It
finds damage, no forgery: who changes a file on purpose can compute it anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from xkeb.results.untrusted import UnreadableError
from xkeb.utils.hashing import digest

CHAIN = "chain"
"""The field of a line that holds it."""
START = ""
"""What stands before the first line."""


def checksum(line: dict[str, Any], before: str) -> str:
    """The checksum of a line.

    Args:
        line: its value; a checksum in it doesn't count.
        before: the checksum of the line before, or `START`.
    """
    return digest([before, {key: value for key, value in line.items() if key != CHAIN}])


def fits(line: Any, before: str) -> bool:
    """Whether a line is what was written after the line with the checksum `before`."""
    return isinstance(line, dict) and line.get(CHAIN) == checksum(line, before)


def check_chain(lines: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any, str | None]]:
    """Each line's number and value, and what is wrong with its checksum; None where it is right.

    Each line is compared with the one before it as that says of itself, so that one damaged line is told once.

    Args:
        lines: as `xkeb.results.untrusted.load_lines` gives them; an `UnreadableError` is passed on.
    """
    before: str | None = START
    for number, value in lines:
        if isinstance(value, UnreadableError) or not isinstance(value, dict):
            before = None  # what it was is not known, and neither is whether the next one fits
            yield number, value, None
            continue
        stated = value.get(CHAIN)
        wrong = before is not None and not fits(value, before)
        before = stated if isinstance(stated, str) else None
        yield (
            number,
            value,
            "its checksum doesn't fit: it, or the line before it, isn't as it was written" if wrong else None,
        )
