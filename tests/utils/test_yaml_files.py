"""YAML from outside is read, or refused as YAML: no other exception, no hour of work, no value that a result can't hold."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from xkeb.errors import RequestError
from xkeb.registry.options import parse_grid, parse_options
from xkeb.utils.yaml_files import AbsurdYamlError, load_yaml

ABSURD = {
    "!!timestamp 2001-99-99": "isn't of the kind",
    "9" * 5000: "isn't of the kind",
    "9" * 30: "a number of 100 bits",
    "!!int ''": "isn't of the kind",
    "!!float x": "isn't of the kind",
    "!!timestamp 2001-01-01": "a value of type date",
    "!!binary aGk=": "a value of type bytes",
    "!!set {a}": "a value of type set",
    "[" * 30 + "]" * 30: "nested more than 20 deep",
    "[" * 20_000: "nested more than 20 deep",
    "&a [*a]": "an alias to what it stands in",
    "&a {b: {c: *a}}": "an alias to what it stands in",
    "\n".join(
        ["a0: &a0 [1,1,1,1,1,1,1,1,1]", *(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))]
    ): ("more than 100,000 values"),
    '"a\\0b"': "a NUL",
    '"\\ud800"': "half a character",
    ".nan": "the number nan",
    "[1, .inf]": "the number inf",
}
"""A document, and what is said of it."""


@pytest.mark.parametrize("text", ABSURD, ids=range(len(ABSURD)))
def test_what_nobody_means_is_refused_with_what_it_is(text: str) -> None:
    with pytest.raises(AbsurdYamlError, match=ABSURD[text]):
        load_yaml(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("2001-99-99", "2001-99-99"), ("no", "no"), ("true", True), ("9223372036854775807", 2**63 - 1), ("1.5", 1.5),
     ("a: &a [1]\nb: *a", {"a": [1], "b": [1]}), ("", None), ("&a [1]", [1])],
)  # fmt: skip
def test_what_is_meant_is_read(text: str, value: object) -> None:
    assert load_yaml(text) == value


@given(st.text(max_size=40) | st.text(alphabet="[]{}&*!:-,<'\"#|>a1. \n\t\\x0~e", max_size=30))
def test_any_text_is_a_value_for_json_or_no_yaml(text: str) -> None:
    try:
        value = load_yaml(text)
    except yaml.YAMLError:
        return
    json.dumps(value, allow_nan=False).encode()


@pytest.mark.parametrize(
    "text", [text for text in ABSURD if "\n" not in text and "," not in text], ids=lambda text: text[:9]
)
def test_an_option_of_such_a_value_is_refused_in_a_sentence(text: str) -> None:
    for parse in (
        lambda: parse_options(f"path={text}", "--model-args"),
        lambda: parse_grid(f"path={text}", "--model-args"),
    ):
        with pytest.raises(RequestError, match=r"^--model-args gives 'path' a value that [^\n]+\.$"):
            parse()


def test_an_option_that_is_no_text_is_refused() -> None:
    with pytest.raises(RequestError, match=r"--model-args gives 'path' a text that is not UTF-8\."):
        parse_options("path=/x\udcff", "--model-args")


@given(st.text(max_size=30))
def test_any_options_are_read_or_refused(text: str) -> None:
    try:
        for value in parse_options(text, "--model-args").values():
            assert not isinstance(value, float) or math.isfinite(value)
    except RequestError as error:
        assert str(error)
