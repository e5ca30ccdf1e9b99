"""YAML as this suite reads it: plain words stay words.

YAML 1.1 reads ``no`` (the code of Norwegian), ``on`` and ``yes`` as booleans, and dates as dates. Here only ``true`` and
``false`` are booleans, as in YAML 1.2, and a date is text.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_BOOLEAN, _TIMESTAMP = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"


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
        yaml.YAMLError: it is no YAML.
    """
    return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader


def load_with_node(text: str) -> tuple[Any, yaml.Node | None]:
    """The value of a document, and its node, which knows the lines.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        return (loader.construct_document(node) if node is not None else None), node
    finally:
        loader.dispose()
