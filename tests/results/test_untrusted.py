"""JSON of any content: what is refused is what a look at each value refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xkeb.results.untrusted import DEEPEST, LONGEST_TEXT, UnreadableError, parse_json

NUMBERS = st.sampled_from(
    [
        "0",
        "-9223372036854775807",
        "9223372036854775808",
        "1e308",
        "1e309",
        "-1E+999",
        "1e0400",
        "1" * 400 + ".5",
        "1.5e-7",
    ]
)
TEXTS = st.sampled_from(
    ['"a"', '"[[[[{"', r'"\ud83d\ude00"', r'"\uDC00"', r'"\\ud800"', '"1111111111111111111111"', '"1e999"']
)


def nested(value: str, depth: int) -> str:
    return "[" * depth + value + "]" * depth


VALUES = st.recursive(
    NUMBERS | TEXTS | st.sampled_from(["null", "[]", "{}", nested("1", DEEPEST), nested("[]", DEEPEST - 1)]),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(TEXTS, inner), max_size=3, unique_by=lambda pair: pair[0]).map(
            lambda pairs: "{" + ",".join(f"{key}:{value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=12,
)


def is_absurd(value: Any, depth: int = 0) -> bool:
    """Plainly: each value and key on its own."""
    if depth > DEEPEST:
        return True
    if isinstance(value, str):
        return len(value) > LONGEST_TEXT or any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, int):
        return abs(value) >= 2**63
    if isinstance(value, float):
        return value in (float("inf"), float("-inf"))
    if isinstance(value, dict):
        return any(is_absurd(key) or is_absurd(item, depth + 1) for key, item in value.items())
    return isinstance(value, list) and any(is_absurd(item, depth + 1) for item in value)


@settings(max_examples=1000, deadline=None)
@given(VALUES)
def test_what_is_refused_is_what_a_look_at_each_value_refuses(text: str) -> None:
    value = json.loads(text)
    if is_absurd(value):
        with pytest.raises(UnreadableError, match=r"deep|bits|too large|half a character"):
            parse_json(text.encode())
    else:
        assert parse_json(text.encode()) == value


@pytest.mark.parametrize("size", [LONGEST_TEXT, LONGEST_TEXT + 1])
def test_a_long_text(size: int) -> None:
    content = json.dumps({"key": "x" * size}).encode()
    if size > LONGEST_TEXT:
        with pytest.raises(UnreadableError, match=r"has a text of 20,001 characters \(at most 20,000\) at key"):
            parse_json(content)
    else:
        assert parse_json(content) == {"key": "x" * size}
