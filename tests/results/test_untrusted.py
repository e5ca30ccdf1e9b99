"""JSON of any content: what is refused is what a look at each value refuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from strange_json import VALUES, is_absurd

from xkeb.results.untrusted import LONGEST_TEXT, UnreadableError, parse_json


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
        with pytest.raises(UnreadableError, match=r"has a text of 131,073 characters \(at most 131,072\) at key"):
            parse_json(content)
    else:
        assert parse_json(content) == {"key": "x" * size}
