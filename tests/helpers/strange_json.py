"""JSON of any content, and the plain way to find what is strange in it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from xkeb.results.untrusted import DEEPEST, LONGEST_TEXT

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
