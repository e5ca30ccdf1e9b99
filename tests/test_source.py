"""What the core's own source promises: it knows methods and models by what plugins register, never by name."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from xkeb.registry.manager import get_plugins

CORE = Path(__file__).parent.parent / "xkeb"
SOURCES = sorted(CORE.rglob("*.py"))
FAMILIES = {
    "rome",
    "memit",
    "mend",
    "serac",
    "ike",
    "ft",
    "llama",
    "gemma",
    "smollm",
    "gpt",
    "qwen",
    "mistral",
    "bloom",
}
"""Names that would not stand in a registry as they are spelt here, or that don't yet."""


def registered() -> set[str]:
    return {name.lower() for registry in (get_plugins().methods, get_plugins().models) for name in registry}


def code(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of everything but comments and docstrings."""
    documentation = {
        (node.body[0].value.lineno, node.body[0].value.col_offset)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node) is not None
        and isinstance(node.body[0], ast.Expr)
    }
    # A string that stands alone documents the field above it.
    documentation |= {
        (node.value.lineno, node.value.col_offset)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        row, column = token.start
        if token.type != tokenize.COMMENT and (row, len(token.line[:column].encode())) not in documentation:
            yield row, token.string


OWN = "xkeb.models.hf"
"""A package of the core's own, for files in the Hugging Face format: called as the model that a plugin registers."""
FORMATS = {("models/hf/sentencepiece.py", '"LlamaTokenizer"')}
"""(file, string): the class that tokenizer_config.json names for SentencePiece. Others read it; no code depends on it."""


def named(source: str) -> list[tuple[int, str]]:
    """(line, name) of every method or model that the code names: a registered one as a word, and one that has become a
    family in an identifier such as ``is_llama2`` or ``LlamaConfig``, too."""
    family, name = (
        "|".join(sorted(map(re.escape, known), key=len, reverse=True)) for known in (FAMILIES, registered())
    )
    pattern = re.compile(rf"(?<![a-z])(?:{family})(?![a-z])|\b(?:{name})\b")
    found = []
    for line, text in code(source):
        parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)  # of an identifier such as LlamaConfig
        found += [(line, name) for name in pattern.findall(text.lower()) or pattern.findall(parts.lower())]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(CORE).as_posix())
def test_no_method_or_model_is_named_in_the_core(path: Path) -> None:
    source = path.read_text(encoding="utf-8").replace(OWN, OWN.rpartition(".")[0])
    for file, text in FORMATS:
        if file == path.relative_to(CORE).as_posix():
            assert source.count(text) == 1
            source = source.replace(text, '""')
    assert named(source) == []


COMMANDS = sorted((CORE / "cli").rglob("*.py"))


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.name)
def test_no_method_or_model_is_named_in_the_help(path: Path) -> None:
    """A command's docstring is what it says of itself: its examples may not presume a plugin."""
    name = "|".join(sorted(map(re.escape, registered()), key=len, reverse=True))
    assert re.findall(rf"(?<![\w-])(?:{name})(?![\w-])", path.read_text(encoding="utf-8").lower()) == []


def test_the_search_finds_names_in_code_and_lets_documentation_be() -> None:
    source = '''
"""About ROME."""
def load(name):  # llama
    """Loads gemma3-270m."""
    if "LLaMA-2" in name or is_gpt2(name):
        return {"ft.layer": f"{name} rome"}
    raft, shift, spike, microme = 1, 2, 3, 4
LIMIT = 3
"""For MEMIT."""
config = LlamaConfig()
'''
    assert named(source) == [(5, "llama"), (5, "gpt"), (6, "ft"), (6, "rome"), (10, "llama")]
