"""What `import xkeb` gives: every public name, from the module that the type checker is told."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import xkeb


def checked_imports() -> dict[str, str]:
    """{name: module} of the imports that only the type checker sees."""
    tree = ast.parse(Path(xkeb.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: node.module.removeprefix("xkeb.")
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def test_the_lazy_names_are_those_that_the_type_checker_sees() -> None:
    assert checked_imports() == xkeb._LAZY
    assert set(xkeb._LAZY) <= set(xkeb.__all__)
    assert list(xkeb.__all__) == sorted(xkeb.__all__, key=lambda name: (name.islower(), name))
    assert set(xkeb.__all__) <= set(dir(xkeb))


@pytest.mark.parametrize("name", xkeb.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert inspect.getdoc(getattr(xkeb, name))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = xkeb.nothing_of_the_kind
