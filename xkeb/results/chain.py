"""The checksum of a line: over the line itself and over the checksum of the line before it.

A flipped bit, a changed text, a line that is exchanged, repeated or left out, all show at the first line that doesn't fit. It
finds damage, no forgery: who changes a file on purpose can compute it anew.
"""

from __future__ import annotations

from typing import Any

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
