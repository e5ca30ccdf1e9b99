"""A quick look at a line of a journal, which tells whether a careful one is due.

The lines that a run writes hold nothing strange, and most have neither a number in exponent form nor an escaped letter. Of such
a line it is quickly proved that the careful look (`xkeb.results.untrusted`, `xkeb.results.chain`) would refuse nothing. Of any
other line nothing is said here: the careful look decides, and finds the words.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from xkeb.results.chain import CHAIN
from xkeb.results.untrusted import LONGEST_TEXT

DIGITS = bytes(ord("0") if chr(i) in "0123456789" else ord(" ") for i in range(256))
MOST_DIGITS = b"0" * 19
"""In a row: a whole number of fewer has less than 63 bits."""
MOST_KNOWN = 100_000


class _NotPlainError(ValueError):
    """A number that Python and msgspec write differently."""


class _Floats(dict[str, float]):
    """Numbers with a point or an exponent by how they are written; most of a journal's are written often."""

    def __missing__(self, text: str) -> float:
        value = float(text)
        if value and not 1e-4 <= abs(value) < 1e16:
            raise _NotPlainError(text)
        if len(self) >= MOST_KNOWN:
            self.clear()
        self[text] = value
        return value


_decode = msgspec.json.Decoder(float_hook=_Floats().__getitem__).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def plain_value(line: bytes, before: str) -> dict[str, Any] | None:
    """The value of a line that fits the line before it and holds nothing strange, but for how deep its parts are nested.

    Args:
        line: with or without the end of the line.
        before: the checksum of the line before, or `xkeb.results.chain.START`.

    Returns:
        None where the line isn't plain, whether it is right or not.
    """
    if len(line) > LONGEST_TEXT or b"\\u" in line or MOST_DIGITS in line.translate(DIGITS):
        return None
    try:
        value = _decode(line)
        if not isinstance(value, dict):
            return None
        stated = value.pop(CHAIN, None)
        # What `xkeb.results.chain.checksum` hashes, byte by byte: indent=0 sets the spaces that Python's json sets.
        content = msgspec.json.format(_encode([before, value]), indent=0)
    except (ValueError, RecursionError):  # msgspec's own and those of the decoding of texts among them
        return None
    if stated != sha256(content).hexdigest():
        return None
    value[CHAIN] = stated
    # A key that stands twice would be read once: without \\u, each text has the same quotation marks here and there, and the
    # line has those of the checksum and its key, while the content has those of `before`.
    return value if line.count(b'"') == content.count(b'"') - _marks(before) + 4 else None


def _marks(text: str) -> int:
    return 2 + text.count('"')
