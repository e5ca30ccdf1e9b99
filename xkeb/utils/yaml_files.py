"""YAML as this suite reads it: plain words stay words, and whatever stands there is read or refused.

YAML 1.1 reads ``no`` (the code of Norwegian), ``on`` and ``yes`` as booleans, and dates as dates. Here only ``true`` and
``false`` are booleans, as in YAML 1.2, and a date is text.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

_BOOLEAN, _TIMESTAMP = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"
DEEPEST = 20
"""Lists and mappings within each other. A run file has four."""
MOST_NODES = 100_000
"""Values of a document, each counted as often as an alias names it."""
LARGEST = 2**63
"""Whole numbers are smaller: what reads a result elsewhere has 64 bits."""


class AbsurdYamlError(yaml.YAMLError):
    """It is YAML, and nothing that anybody writes on purpose. Says what stands there, as in ``holds a number of 90 bits``."""


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's booleans and no dates."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOLEAN, _TIMESTAMP)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(_BOOLEAN, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def load_yaml(text: str) -> Any:
    """The value of a document.

    Raises:
        yaml.YAMLError: it is no YAML, or nothing that can be meant.
    """
    return load_with_node(text)[0]


def load_with_node(text: str) -> tuple[Any, yaml.Node | None]:
    """The value of a document, and its node, which knows the lines.

    Raises:
        yaml.YAMLError: it is no YAML, or nothing that can be meant.
    """
    try:
        loader = Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, None
            _check_nodes(node, 0, set(), {})
            value = loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError as error:
        raise AbsurdYamlError(f"is nested more than {DEEPEST} deep") from error
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, OverflowError) as error:
        # What PyYAML's constructors raise: of `!!int ''`, of 2001-99-99 as a !!timestamp, of an integer of 5,000 digits.
        raise AbsurdYamlError("has a value that isn't of the kind it is said or seems to be") from error
    _check_value(value)
    return value, node


def _check_nodes(node: yaml.Node, depth: int, above: set[int], sizes: dict[int, int]) -> int:
    """The number of values that a node stands for. Calls itself no deeper than `DEEPEST`.

    Args:
        above: the nodes that it stands in.
        sizes: of the nodes that were seen, so that an alias costs nothing.
    """
    if id(node) in above:
        raise AbsurdYamlError("holds an alias to what it stands in")
    if depth > DEEPEST:
        raise AbsurdYamlError(f"is nested more than {DEEPEST} deep")
    if id(node) not in sizes:
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            inner = list(node.value)
        elif isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        within = {*above, id(node)} if inner else above
        sizes[id(node)] = 1 + sum(_check_nodes(part, depth + 1, within, sizes) for part in inner)
    if sizes[id(node)] > MOST_NODES:
        raise AbsurdYamlError(f"has more than {MOST_NODES:,} values")
    return sizes[id(node)]


def _check_value(value: Any) -> None:
    """Refuses numbers and characters that no result can hold. Calls itself no deeper than `DEEPEST`."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_value(key)
            _check_value(item)
    elif isinstance(value, list):
        for item in value:
            _check_value(item)
    elif isinstance(value, int) and not -LARGEST <= value < LARGEST:
        raise AbsurdYamlError(f"holds a number of {value.bit_length():,} bits")
    elif isinstance(value, float) and not math.isfinite(value):
        raise AbsurdYamlError(f"holds the number {value}")
    elif isinstance(value, str) and ("\0" in value or any("\ud800" <= one <= "\udfff" for one in value)):
        raise AbsurdYamlError("holds a NUL or half a character")
    elif not isinstance(value, str | int | float | None):
        raise AbsurdYamlError(f"holds a value of type {type(value).__name__}")
