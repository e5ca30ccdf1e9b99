"""The parts of the documentation that are made from the code: commands, hooks, files."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import click
from pydantic import BaseModel

from xkeb.cli import cli
from xkeb.leaderboard import schema
from xkeb.registry import hookspecs
from xkeb.results.schema import Result, Score


def commands() -> str:
    """Every command with its arguments and options, as its ``--help`` has them."""
    return "\n".join(_command(cli, ["xkeb"]))


def _command(command: click.Command, path: list[str]) -> Iterator[str]:
    context = click.Context(command, info_name=" ".join(path))
    if len(path) > 1:
        yield f"{'#' * min(len(path), 4)} {' '.join(path)}\n"
    yield f"```text\n{' '.join([*path, *command.collect_usage_pieces(context)])}\n```\n"
    yield _prose(command.help or "") + "\n"
    rows = [parameter for parameter in command.get_params(context) if "--help" not in parameter.opts]
    if options := [option for option in rows if isinstance(option, click.Option) and not option.hidden]:
        yield "| option | what it does |\n|---|---|"
        for option in options:
            yield _option(option, context)
        yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found
            yield from _command(found, [*path, name])


def _option(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record
    names, text = record
    return f"| `{' '.join(names.split())}` | {_cell(text)} |"  # in code, a bar is no border


def _prose(text: str) -> str:
    """A help text as Markdown: what follows a ``\\b`` keeps its lines."""
    parts = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            parts.append(f"```text\n{paragraph[2:]}\n```")
        else:
            parts.append(" ".join(paragraph.split()))
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def hook(name: str) -> Callable[[], str]:
    """A hook as it is specified: its signature and what is said of it."""

    def part() -> str:
        specified = getattr(hookspecs, name)
        signature = str(inspect.signature(specified)).replace("'", "").removesuffix(" -> None")
        return f"```text\n{name}{signature}\n```\n\n{inspect.getdoc(specified)}"

    return part


def hook_names() -> list[str]:
    """Every hook, in the order of the module."""
    return [name for name, thing in vars(hookspecs).items() if hasattr(thing, f"{hookspecs.PROJECT}_spec")]


def about_hooks() -> str:
    """What the module says of all hooks."""
    return inspect.getdoc(hookspecs) or ""


def result_file() -> str:
    """result.json: every key, with its type, and what the class that writes it says of it."""
    return _keys(
        schema.Result, {**_docstrings(Result), **{f"scores.*.*.*.{k}": v for k, v in _docstrings(Score).items()}}
    )


def case_line() -> str:
    """A line of cases.jsonl."""
    return _keys(schema.CaseRecord, {})


def version() -> str:
    """The schema version of this code."""
    from xkeb.results.schema import SCHEMA_VERSION

    return f"Schema version **{SCHEMA_VERSION}**."


def _keys(model: type[BaseModel], said: dict[str, str]) -> str:
    rows = ["| key | type | |", "|---|---|---|"]
    for path, annotation in _flat(model, ""):
        rows.append(f"| `{path}` | {_type(annotation)} | {_cell(said.get(path, ''))} |")
    return "\n".join(rows)


def _flat(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    """(path, type) of every key, depth first; ``*`` is any key, ``[]`` any item."""
    for name, annotation in typing.get_type_hints(model).items():
        if name in model.model_fields:
            yield from _under(f"{prefix}{name}", annotation)


def _under(path: str, annotation: Any) -> Iterator[tuple[str, Any]]:
    inner, inside = annotation, path
    while True:
        origin, arguments = typing.get_origin(inner), typing.get_args(inner)
        if origin in (typing.Union, types.UnionType):
            inner = next(argument for argument in arguments if argument is not type(None))
        elif origin is dict:
            inner, inside = arguments[1], f"{inside}.*"
        elif origin is list:
            inner, inside = arguments[0], f"{inside}[]"
        else:
            break
    yield path, annotation
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        yield from _flat(inner, f"{inside}.")


WORDS = {str: "text", int: "number, whole", float: "number", Any: "anything", type(None): "null"}


def _type(annotation: Any) -> str:
    """A type in words."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object"
    if annotation in WORDS:
        return WORDS[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is dict:
        return "object"
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(argument) for argument in arguments)
    raise TypeError(f"{annotation} has no words here")


def _docstrings(cls: type[Any]) -> dict[str, str]:
    """What stands below each field of a dataclass."""
    tree = ast.parse(Path(inspect.getsourcefile(cls) or "").read_text(encoding="utf-8"))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls.__name__)
    names = {field.name for field in dataclasses.fields(cls)}
    said = {}
    for node, after in itertools.pairwise(body):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in names):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            said[node.target.id] = str(after.value.value)
    return said


def options(place: str) -> Callable[[], str]:
    """The options of a registered method: name, default, what is said of it."""

    def part() -> str:
        from xkeb.registry.manager import get_plugins

        cls = get_plugins().methods.get(place)
        said = _docstrings(cls)
        rows = ["| option | default | |", "|---|---|---|"]
        for field in dataclasses.fields(cls):
            if field.init:
                rows.append(f"| `{place}.{field.name}` | `{field.default}` | {_cell(said.get(field.name, ''))} |")
        return "\n".join(rows)

    return part


METHODS = ("ft", "rome", "memit", "kn", "mend", "serac", "ike")

PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "hooks": about_hooks,
    "result.json": result_file,
    "cases.jsonl": case_line,
    "schema version": version,
    **{f"hook {name}": hook(name) for name in hook_names()},
    **{f"options of {name}": options(name) for name in METHODS},
}
"""What ``<!-- generated: NAME -->`` on a page stands for."""
