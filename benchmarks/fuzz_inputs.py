"""Hostile values, and files made of them: how `fuzz.py` changes what is sound."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from hypothesis import strategies as st

CHARACTERS = st.characters(exclude_characters="/~", exclude_categories=["Cs"])  # nothing leads out of the folder
TEXTS = st.sampled_from(
    ["", " ", ".", "..", "\0", "\x1b[31m", "[/b]", "[red]", "{source}", "{0.__class__}", "%s", "\r\n", "\u202e", "\ufeff",
     "é", "e\u0301", "日本", "\ud83d", "\udcff", "no", "null", "1e999", ".nan", "2001-99-99", "9" * 5000, "<script>",
     "a" * 5000, "a,b", "a=b", "-1", "=1+1"]
) | st.text(CHARACTERS, max_size=8)  # fmt: skip
NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**63, 10**30, -(2**64), 0.5, -0.0, 1e308]) | st.integers(-3, 200)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)


@st.composite
def tree(draw: st.DrawFn, sound: Any) -> Any:
    """A value with a few of its parts exchanged, left out, repeated or renamed."""
    value = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(value))
        if not places:
            return draw(VALUES)
        parent, key = draw(st.sampled_from(places))
        act = draw(st.sampled_from(["set", "set", "set", "drop", "rename", "repeat", "deepen"]))
        if act == "drop":
            del parent[key]
        elif act == "rename" and isinstance(parent, dict):
            parent[draw(TEXTS)] = parent.pop(key)
        elif act == "repeat" and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif act == "deepen":
            for _ in range(draw(st.sampled_from([1, 30, 300]))):
                parent[key] = [parent[key]]
        else:
            parent[key] = draw(VALUES)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield value, key
        yield from _places(item)


@st.composite
def damaged(draw: st.DrawFn, sound: st.SearchStrategy[bytes]) -> bytes:
    """Bytes, as they are or with some flipped, lost, repeated or put in."""
    data = bytearray(draw(sound))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        place = draw(st.integers(0, len(data)))
        size = draw(st.sampled_from([1, 1, 10, 1000]))
        act = draw(st.sampled_from(["flip", "lose", "repeat", "cut", "insert"]))
        if act == "flip" and place < len(data):
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif act == "lose":
            del data[place : place + size]
        elif act == "repeat":
            data[place:place] = data[place : place + size]
        elif act == "cut":
            del data[place:]
        else:
            data[place:place] = draw(
                st.sampled_from([b"\0", b"\xff", b"\xef\xbb\xbf", b"[" * 3000, b"&a [*a]\n", b"\n", b"!!int ''"])
            )
    return bytes(data)


@contextmanager
def _deeper() -> Iterator[None]:
    """Inside, values may be written that are nested deeper than they may be read."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20 * limit)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@_deeper()
def in_yaml(value: Any) -> bytes:
    return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")


@_deeper()
def in_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def in_lines(value: Any) -> bytes:
    return b"".join(in_json(line) + b"\n" for line in (value if isinstance(value, list) else [value]))
