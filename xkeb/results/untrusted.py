"""Reading what strangers wrote: JSON of any content as data, or one sentence on what is wrong with it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LARGEST_RESULT = 16 * 2**20
"""Bytes of a result.json. One of two languages has some 40,000; one of 53, with slices and every metric, some 8 million. What
strangers fill it with takes some 500 MB once it is read."""
LARGEST_LINE = 16 * 2**20
"""Bytes of a case. One of seven probes has some 5,000; one of 160, in 53 languages, whose answers have a thousand tokens each,
some 10 million."""
MOST_CASES = 100_000
LONGEST_TEXT = 2**17
"""Characters of a text. The longest that a run writes are free answers (`xkeb.evaluation.protocols.generate`) and the command:
Linux takes none with a longer word, such as the names of its cases."""
DEEPEST = 20
"""Lists and objects within each other. A result has five levels, and a few more in a method's options."""
SHOWN = 60
"""Characters of a strange text that a sentence quotes."""


class UnreadableError(ValueError):
    """The content is no data; the message goes on from the name of the file: ``is not JSON: ..``."""


def load_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        UnreadableError: it can't be read, or `parse` refuses it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_RESULT + 1)
    except OSError as error:
        raise UnreadableError(f"can't be read: {error.strerror}") from error
    if len(content) > LARGEST_RESULT:
        raise UnreadableError(f"is larger than {LARGEST_RESULT:,} bytes")
    return parse_json(content)


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The number and the bytes of each line of a file.

    Raises:
        UnreadableError: the file can't be read, or is too large to go on.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LARGEST_LINE + 1):
                number += 1
                if len(line) > LARGEST_LINE:
                    raise UnreadableError(f"line {number} is longer than {LARGEST_LINE:,} bytes")
                if number > MOST_CASES:
                    raise UnreadableError(f"has more than {MOST_CASES:,} lines")
                yield number, line
    except OSError as error:
        raise UnreadableError(f"can't be read: {error.strerror}") from error


def parse_json(content: bytes) -> Any:
    """JSON, strictly: UTF-8, no key twice in an object, nothing that JSON has no word for, nothing absurd.

    Raises:
        UnreadableError: says what and where.
    """
    try:
        text = content.decode()
        try:
            value = json.loads(
                text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_int, parse_float=_float
            )
        except _AbsurdNumberError:
            value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
            _refuse_absurd(value)
    except UnreadableError:
        raise
    except UnicodeDecodeError as error:
        raise UnreadableError(f"is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise UnreadableError(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise UnreadableError(f"is nested more than {DEEPEST} deep") from error
    except ValueError as error:  # Python reads no integer of more than some thousand digits
        raise UnreadableError("holds a number with more digits than can be read") from error
    if len(text) > LONGEST_TEXT or "\\u" in text or _is_deep(value):
        _refuse_absurd(value)
    return value


class _AbsurdNumberError(Exception):
    """Somewhere in a text. To look at each value of every text takes longer than to read them."""


def _int(digits: str) -> int:
    value = int(digits)
    if value.bit_length() > 63:
        raise _AbsurdNumberError
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _AbsurdNumberError
    return value


def _is_deep(value: Any) -> bool:
    """Whether it may be: lists and objects stand within each other at every level."""
    held: list[Any] = [value] if value.__class__ in (dict, list) else []
    for _ in range(DEEPEST):
        held = [
            item
            for one in held
            for item in (one if one.__class__ is list else one.values())
            if item.__class__ is dict or item.__class__ is list
        ]
        if not held:
            return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):  # readers differ in which of the two they take
        twice = next(key for key, number in Counter(key for key, _ in pairs).items() if number > 1)
        raise UnreadableError(f"has the key {quoted(twice)} twice in one object")
    return content


def _constant(name: str) -> Any:
    raise UnreadableError(f"holds {name}, which is not JSON")


def _refuse_absurd(value: Any, place: tuple[str | int, ...] = ()) -> None:
    """Calls itself for what a value holds, which is safe: it goes no deeper than `DEEPEST`."""
    if problem := _absurd(value, len(place)):
        raise UnreadableError(f"{problem} at {'.'.join(inline(part) for part in place) or 'the top'}")
    if isinstance(value, dict):
        for key, item in value.items():
            if problem := _absurd(key, len(place)):
                raise UnreadableError(f"{problem} as the key {quoted(key)}")
            _refuse_absurd(item, (*place, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _refuse_absurd(item, (*place, i))


def _absurd(value: Any, depth: int) -> str | None:
    if depth > DEEPEST:
        return f"is nested more than {DEEPEST} deep"
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            return f"has a text of {len(value):,} characters (at most {LONGEST_TEXT:,})"
        if any("\ud800" <= character <= "\udfff" for character in value):
            return "has half a character (a lone surrogate)"
    elif isinstance(value, int):
        return f"has a number of {value.bit_length()} bits" if value.bit_length() > 63 else None
    elif isinstance(value, float) and not math.isfinite(value):
        return "has a number that is too large"
    return None


def quoted(value: Any) -> str:
    """A strange value as a sentence can hold it: short, on one line, without a character that a terminal would obey."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    if isinstance(value, str):
        return repr(value if len(value) <= SHOWN else value[:SHOWN] + "…")
    return json.dumps(value)


def inline(part: object) -> str:
    """A strange key or name without quotation marks."""
    return quoted(part)[1:-1] if isinstance(part, str) else str(part)


def printable(text: str) -> str:
    """A strange text whole, with what is not printable spelt out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
