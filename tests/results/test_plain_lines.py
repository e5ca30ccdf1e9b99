"""The quick look at a line: what it takes, the careful look takes, too, as the same value."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import located, scored
from strange_json import VALUES, is_absurd

from xkeb.results.chain import CHAIN, START, checksum
from xkeb.results.journal import Journal
from xkeb.results.lines import CaseRecord
from xkeb.results.plain_lines import plain_value
from xkeb.results.untrusted import LONGEST_TEXT, UnreadableError, parse_json

BEFORE = "ab" * 32


def sealed(text: str, before: str) -> bytes:
    """An object as text, with its checksum put in."""
    value = json.loads(text)
    return (text[:-1] + (", " if value else "") + f'"{CHAIN}": "{checksum(value, before)}"}}\n').encode()


@settings(max_examples=1000, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "大", "e-5", "Z"]), VALUES, max_size=4),
    st.sampled_from([BEFORE, START, 'q"\\é']),
)
def test_what_is_taken_is_what_the_careful_look_takes(values: dict[str, str], before: str) -> None:
    text = "{" + ",".join(f'"{key}":{value}' for key, value in values.items()) + "}"
    try:
        line = sealed(text, before)
    except UnicodeEncodeError:  # half a character has no checksum
        return
    found = plain_value(line, before)
    assert plain_value(line, before + "0") is None
    if found is None:
        return
    value = json.loads(line)
    assert found == value and list(map(type, _leaves(found))) == list(map(type, _leaves(value)))
    try:
        assert parse_json(line) == value
    except UnreadableError as error:
        assert "deep" in str(error)  # which is left to the record's schema


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in _leaves(value[key])]
    return [leaf for item in value for leaf in _leaves(item)] if isinstance(value, list) else [value]


@settings(max_examples=1000, deadline=None)
@given(
    st.dictionaries(
        st.text(), st.text() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(), max_size=4
    ),
    st.booleans(),
)
def test_texts_and_numbers_of_all_kinds(value: dict[str, Any], ascii_only: bool) -> None:
    value.pop(CHAIN, None)
    line = json.dumps({**value, CHAIN: checksum(value, BEFORE)}, ensure_ascii=ascii_only).encode()
    found = plain_value(line, BEFORE)
    assert found is None or (found == json.loads(line) and not is_absurd(found))


def test_what_a_journal_writes_is_plain(tmp_path: Path) -> None:
    """But for numbers in exponent form: else every line would be looked at twice."""
    path = tmp_path / "cases.jsonl"
    with Journal(path, CaseRecord, "s") as journal:
        for record in (scored("a", f1=1.0), located("波尔多", 0.1 + 0.2), scored("c", f1=1e-7), scored("d", f1=1 / 3)):
            journal.append(record)
    lines = path.read_bytes().splitlines(keepends=True)
    chains = [START, *(json.loads(line)[CHAIN] for line in lines)]
    found = [plain_value(line, before) for line, before in zip(lines, chains, strict=False)]
    assert [value == json.loads(line) for value, line in zip(found, lines, strict=True)] == [True, True, False, True]


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a": {"b": "x", "c": 0, "b": "x"}}',
        '{"a":"\\u0022","a": 2}',
        '{"a": NaN}',
        '{"a": 9223372036854775808}',
        '{"a": [1e999]}',
        '{"a": "\\ud800"}',
        f'{{"a": "{"x" * (LONGEST_TEXT + 1)}"}}',
    ],
)
def test_what_is_refused_isn_t_plain(text: str) -> None:
    """With the checksum of what a reader makes of it that doesn't mind."""
    content = json.dumps([BEFORE, json.loads(text)], sort_keys=True, ensure_ascii=False)
    stated = sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
    line = f'{text[:-1]}, "{CHAIN}": "{stated}"}}\n'.encode()
    with pytest.raises(UnreadableError):
        parse_json(line)
    assert plain_value(line, BEFORE) is None


@pytest.mark.parametrize("number", ["1e-05", "1e16", "-1.5E20", "0.00001"])
def test_a_checksum_over_another_way_of_writing_numbers_doesn_t_fit(number: str) -> None:
    value = json.loads(f'{{"a": {number}}}')
    written = msgspec.json.format(msgspec.json.encode([BEFORE, value], order="sorted"), indent=0)
    stated = sha256(written).hexdigest()
    assert stated != checksum(value, BEFORE)
    assert plain_value(f'{{"a": {number}, "{CHAIN}": "{stated}"}}'.encode(), BEFORE) is None
