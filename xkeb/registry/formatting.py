"""Options as the text that `parse_options` reads back to the same values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def format_options(options: Mapping[str, Any]) -> str:
    """``k=v,k=v``. What is no text, number, list or mapping (a path) becomes a text. Numbers are finite, as no option can be
    another."""
    return ",".join(f"{key}={_as_yaml(value)}" for key, value in options.items())


def _as_yaml(value: Any) -> str:
    """A value in YAML 1.1 on one line, every text between quotes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float_as_yaml(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_as_yaml(key)}: {_as_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_as_yaml, value)) + "]"
    return '"' + "".join(map(_escaped, str(value))) + '"'


def _float_as_yaml(value: float) -> str:
    """YAML 1.1 takes 1e-05 for a text."""
    mantissa, e, exponent = repr(value).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{e}{exponent}"


def _escaped(character: str) -> str:
    """A backslash and a quote are spelt out as numbers, so that no reader has to count backslashes."""
    if character.isprintable() and character not in '"\\':
        return character
    return f"\\U{ord(character):08x}"
