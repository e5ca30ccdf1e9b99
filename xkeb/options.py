"""Options of methods and backbones: the fields of a class, checked by name and by type."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from xkeb.errors import RequestError, unknown


def build(kind: str, name: str, cls: type[Any], options: Mapping[str, Any]) -> Any:
    """``cls(**options)``, with each name looked up and each value converted to the field's type.

    Raises:
        RequestError: a misspelt option (with the nearest name) or a value of another type.
    """
    hints = typing.get_type_hints(cls) if dataclasses.is_dataclass(cls) else typing.get_type_hints(cls.__init__)
    names = [parameter for parameter in inspect.signature(cls).parameters if not parameter.startswith("_")]
    values = {}
    for option, value in options.items():
        if option not in names:
            raise unknown(f"option of {kind} {name!r}:", option, names)
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(
                hints.get(option, Any), config=ConfigDict(arbitrary_types_allowed=True, coerce_numbers_to_str=True)
            )
            values[option] = adapter.validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise RequestError(f"Option {option!r} of {kind} {name!r} can't be {value!r}: {problem}.") from error
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{kind.capitalize()} {name!r}: {error}") from error


def parse(text: str | None, flag: str) -> dict[str, Any]:
    """``k=v,k=v`` as a dictionary; values are read as YAML, so numbers, booleans and ``[lists]`` keep their type."""
    pairs: dict[str, Any] = {}
    for item in _split(text or ""):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise RequestError(f"{flag} takes key=value pairs separated by commas, not {item!r}.")
        if key.strip() in pairs:
            raise RequestError(f"{flag} names {key.strip()!r} twice.")
        try:
            pairs[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            pairs[key.strip()] = value
    return pairs


def _split(text: str) -> list[str]:
    """Splits at commas outside brackets."""
    items, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0:
            items.append(text[start:i])
            start = i + 1
    items.append(text[start:])
    return [item for item in items if item.strip()]
