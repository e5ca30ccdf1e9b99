"""Options of methods and backbones: the fields of a class, checked by name and by type."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from xkeb.errors import RequestError, unknown
from xkeb.utils.secrets import HIDDEN, is_secret
from xkeb.utils.yaml_files import AbsurdYamlError, load_yaml

CALLED_ELSEWHERE = {
    "pretrained": "path",
    "model_name": "path",
    "model_name_or_path": "path",
    "checkpoint": "path",
    "learning_rate": "lr",
    "num_steps": "steps",
    "n_steps": "steps",
    "num_train_steps": "steps",
}
"""What other suites and trainers call an option that is here by another name."""


def build_with_options(kind: str, name: str, cls: type[Any], options: Mapping[str, Any]) -> Any:
    """``cls(**options)``, with each name looked up and each value converted to the field's type.

    Raises:
        RequestError: a misspelt option (with the nearest name) or a value of another type.
    """
    hints = typing.get_type_hints(cls if dataclasses.is_dataclass(cls) else cls.__init__, include_extras=True)
    names = [parameter for parameter in inspect.signature(cls).parameters if not parameter.startswith("_")]
    values = {}
    for option, value in options.items():
        if option not in names:
            meant = CALLED_ELSEWHERE.get(option.casefold())
            if meant in names:
                raise RequestError(f"Unknown option of {kind} {name!r}: {option!r}: it is called {meant!r} here.")
            raise unknown(f"option of {kind} {name!r}:", option, names)
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(
                hints.get(option, Any), config=ConfigDict(arbitrary_types_allowed=True, coerce_numbers_to_str=True)
            )
            values[option] = adapter.validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise RequestError(
                f"Option {option!r} of {kind} {name!r} can't be {HIDDEN if is_secret(option) else repr(value)}: {problem}."
            ) from error
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{kind.capitalize()} {name!r}: {error}") from error


def parse_options(text: str | None, flag: str) -> dict[str, Any]:
    """``k=v,k=v`` as a dictionary; values are read as YAML, so numbers, booleans, ``[lists]`` and ``"texts"`` keep their type.

    Raises:
        RequestError: says what was expected.
    """
    pairs: dict[str, Any] = {}
    for item in _split(text or ""):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise RequestError(f"{flag} takes key=value pairs separated by commas, not {item!r}.")
        if key.strip() in pairs:
            raise RequestError(f"{flag} names {key.strip()!r} twice.")
        pairs[key.strip()] = _value(value, key.strip(), flag)
    return pairs


_OPTION = re.compile(r"\s*[a-z_]\w*\s*=")
"""How an option begins, where a value was expected."""


def parse_grid(text: str, flag: str) -> dict[str, list[Any]]:
    """``k=v,v;k=v`` as the values of each option; a value is read as in `parse_options`.

    Raises:
        RequestError: says what was expected.
    """
    grid: dict[str, list[Any]] = {}
    for item in _split(text, ";"):
        key, equals, values = item.partition("=")
        name = key.strip()
        if not equals or not name:
            raise RequestError(f"{flag} takes option=value,value;option=value,value, not {item.strip()!r}.")
        if name in grid:
            raise RequestError(f"{flag} names {name!r} twice.")
        if another := next((value for value in _split(values) if _OPTION.match(value)), None):
            raise RequestError(f"{flag} has a semicolon before each further option: {name}=..;{another.strip()}.")
        grid[name] = [_value(value, name, flag) for value in _split(values)]
        if not grid[name]:
            raise RequestError(f"{flag} gives {name!r} no value.")
    if not grid:
        raise RequestError(f"{flag} names no option; it takes option=value,value;option=value,value.")
    return grid


def _value(text: str, key: str, flag: str) -> Any:
    """What stands after the ``=``, read as YAML; text that is no YAML is itself.

    Raises:
        RequestError: it is YAML that can't be meant, or holds what no file can.
    """
    if any("\ud800" <= one <= "\udfff" for one in text):
        raise RequestError(f"{flag} gives {key!r} a text that is not UTF-8.")
    try:
        return load_yaml(text)
    except AbsurdYamlError as error:
        raise RequestError(f"{flag} gives {key!r} a value that {error}.") from error
    except yaml.YAMLError:
        return text


CLOSING = {"[": "]", "{": "}"}


def _split(text: str, separator: str = ",") -> list[str]:
    """Splits at separators outside quotes and brackets.

    A quote opens where a value begins, so that an apostrophe inside a word is a letter; a bracket that closes nothing is
    one, too.
    """
    items, start = [], 0
    waiting: list[str] = []
    """What closes the brackets that are open."""
    quote, previous = "", "="
    for i, character in enumerate(text):
        if quote:
            if character == quote and not (quote == '"' and text[i - 1] == "\\"):
                quote = ""
        elif character in "\"'" and previous in "=[{,:":
            quote = character
        elif character in CLOSING and (waiting or previous in "=[{,:"):
            waiting.append(CLOSING[character])
        elif waiting and character == waiting[-1]:
            waiting.pop()
        elif character == separator and not waiting:
            items.append(text[start:i])
            start = i + 1
        if not character.isspace():
            previous = character
    items.append(text[start:])
    return [item for item in items if item.strip()]
