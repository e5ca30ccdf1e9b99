"""What a registered class says of itself, read from its source: importing it may need torch."""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path
from typing import Any

from xkeb.types import Sight

Definition = ast.ClassDef | ast.FunctionDef


@functools.cache
def find_definition(place: str) -> Definition | None:
    """The class or function at ``module:name``; None where its source isn't to be had."""
    module, _, name = place.partition(":")
    tree = _parse(module)
    nodes = [node for node in tree.body if isinstance(node, Definition) and node.name == name]
    return nodes[0] if nodes else None


@functools.cache
def _parse(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    if not spec or not spec.origin:
        return ast.Module([], [])
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def declared_sights(thing: Any) -> list[Sight]:
    """What an editor declares to see, sorted.

    Args:
        thing: the class, or where it stands.
    """
    sights = _of_source(thing) if isinstance(thing, str) else getattr(thing, "sees", None)
    return sorted(sights if sights is not None else {Sight.SOURCE_EDIT})


def _of_source(place: str) -> set[Sight] | None:
    """The members of `Sight` in the definition's ``sees``, with those of a base class that it adds to or takes over."""
    definition = find_definition(place)
    if not isinstance(definition, ast.ClassDef):
        return None
    module, _, _ = place.partition(":")
    bases = [base.id for base in definition.bases if isinstance(base, ast.Name)]
    for node in definition.body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == "sees"
            and node.value
        ):
            named = {part.attr for part in ast.walk(node.value) if isinstance(part, ast.Attribute)}
            inherited = [
                part.value.id
                for part in ast.walk(node.value)
                if isinstance(part, ast.Attribute) and part.attr == "sees" and isinstance(part.value, ast.Name)
            ]
            sights = {Sight[name] for name in named if name in Sight.__members__}
            for base in inherited:
                sights |= _of_source(_place_of(module, base)) or set()
            return sights
    for base in bases:
        if (place_of_base := _place_of(module, base)) and (sights_of_base := _of_source(place_of_base)) is not None:
            return sights_of_base
    return None


def _place_of(module: str, name: str) -> str:
    """Where a name of a module was defined: there, or in the module that it was imported from."""
    for node in _parse(module).body:
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            return f"{node.module}:{name}"
    return f"{module}:{name}"
