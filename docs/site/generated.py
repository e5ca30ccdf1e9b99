"""The parts of the documentation that are made from the code: commands, hooks, options, files, packages."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import itertools
import json
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import click
from packages import package_list
from picture import picture
from pydantic import BaseModel

from xkeb.cli import cli
from xkeb.evaluation.events import RunObserver
from xkeb.registry import hookspecs
from xkeb.registry.manager import get_plugins
from xkeb.results.damage import DamageRecord
from xkeb.results.lines import BaselineRecord, CaseRecord
from xkeb.results.result import Result
from xkeb.types import Sight


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
            subcommand = command.get_command(context, name)
            assert subcommand
            yield from _command(subcommand, [*path, name])


def _option(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record
    names, text = record
    text = re.sub(r"\[(?=[x\d].*?[<>])", r"\\[", text)  # a range is no link
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


def record(model: type[BaseModel]) -> Callable[[], str]:
    """A file of a result: every key, with its type and its description in the schema."""

    def part() -> str:
        rows = ["| key | type | |", "|---|---|---|"]
        for path, annotation, text in _flat(model, ""):
            rows.append(f"| `{path}` | {_type(annotation)} | {_cell(text)} |")
        return "\n".join(rows)

    return part


def version() -> str:
    """The schema version of this code."""
    from xkeb.results.result import SCHEMA_VERSION

    return f"Schema version **{SCHEMA_VERSION}**."


def _flat(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any, str]]:
    """(path, type, description) of every key, depth first; ``*`` is any key, ``[]`` any item."""
    hints = typing.get_type_hints(model)
    texts = _docstrings(model)
    for name in model.model_fields:
        yield from _below(f"{prefix}{name}", hints[name], texts.get(name, ""))


def _below(path: str, annotation: Any, text: str) -> Iterator[tuple[str, Any, str]]:
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
    is_object = isinstance(inner, type) and issubclass(inner, BaseModel)
    yield path, annotation, text or (is_object and vars(inner).get("__doc__")) or ""
    if is_object:
        yield from _flat(inner, f"{inside}.")


WORDS = {str: "text", bool: "true or false", int: "number, whole", float: "number", Any: "anything", type(None): "null"}


def _type(annotation: Any) -> str:
    """A type in words."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " or ".join(f"`{one.value}`" for one in annotation)
    if annotation in WORDS:
        return WORDS[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is dict:
        return "object"
    if origin is tuple:
        return f"list of {len(arguments)}: {_type(arguments[0])}"
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(argument) for argument in arguments)
    raise TypeError(f"{annotation} has no words here")


def _docstrings(cls: type[Any]) -> dict[str, str]:
    """What stands below each field of a class or of those that it inherits from."""
    texts: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        if not one.__module__.startswith("xkeb"):
            continue
        tree = ast.parse(Path(inspect.getsourcefile(one) or "").read_text(encoding="utf-8"))
        body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == one.__name__)
        for node, after in itertools.pairwise(body):
            if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
                continue
            if isinstance(node, ast.Assign):
                texts[ast.unparse(node.targets[0])] = str(after.value.value)
            elif isinstance(node, ast.AnnAssign):
                texts[ast.unparse(node.target)] = str(after.value.value)
    return texts


def options(name: str) -> Callable[[], str]:
    """The options of a registered method: name, default, description."""

    def part() -> str:
        cls = get_plugins().methods.get(name)
        texts = _docstrings(cls)
        rows = ["| option | default | |", "|---|---|---|"]
        rows += [
            f"| `{name}.{field.name}` | `{field.default}` | {_cell(texts.get(field.name, ''))} |"
            for field in dataclasses.fields(cls)
            if field.init
        ]
        return "\n".join(rows)

    return part


def registries() -> str:
    """Every kind of plugin: the hook that registers it, and the names that come with the suite."""
    rows = ["| what | hook | comes with the suite |", "|---|---|---|"]
    for registry in get_plugins().registries:
        names = ", ".join(f"`{name}`" for name in registry if registry.entries[name].builtin)
        rows.append(f"| {registry.kind} | [`{registry.hook}`](#{registry.hook}) | {names} |")
    return "\n".join(rows)


def events() -> str:
    """Every method of an observer, with its arguments and when it is called."""
    rows = ["| method | when it is called |", "|---|---|"]
    for name, method in vars(RunObserver).items():
        if callable(method) and not name.startswith("_"):
            names = ", ".join(list(inspect.signature(method).parameters)[1:])
            rows.append(f"| `{name}({names})` | {_cell(inspect.getdoc(method) or _as_sentence(name))} |")
    return "\n".join(rows)


def _as_sentence(name: str) -> str:
    """``job_done`` as words, of a method that says no more."""
    return f"{name.replace('_', ' ').capitalize()}."


def sights() -> str:
    """What an editor may declare to see."""
    texts = _docstrings(Sight)
    rows = [f"| `Sight.{one.name}` | {_cell(texts[one.name])} |" for one in Sight]
    return "\n".join(["| value | what the editor sees |", "|---|---|", *rows])


def families() -> str:
    """What becomes of each family of causal language models, as `make families` found it."""
    table = json.loads((Path(__file__).parent / "families.json").read_text(encoding="utf-8"))
    outcomes: dict[str, str] = table["families"]
    edited = [f"`{family}`" for family, outcome in outcomes.items() if outcome == "edited"]
    rows = [f"| `{family}` | {_cell(outcome)} |" for family, outcome in outcomes.items() if outcome != "edited"]
    return "\n".join(
        [
            f"Of the {len(outcomes)} families of transformers {table['transformers']}, {len(edited)} are edited: "
            f"{', '.join(edited)}.\n",
            "| the others | why |\n|---|---|",
            *rows,
        ]
    )


METHODS = (
    "ft",
    "ft-l",
    "ft-m",
    "locft-bf",
    "lora",
    "rome",
    "r-rome",
    "memit",
    "emmet",
    "alphaedit",
    "langedit",
    "ultraedit",
    "kn",
    "mend",
    "serac",
    "grace",
    "wise",
    "memoir",
    "ike",
    "scr",
    "remake",
    "xmem",
    "xmemit",
    "xmend",
)

PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "hooks": about_hooks,
    "registries": registries,
    "events": events,
    "sights": sights,
    "families": families,
    "packages": picture,
    "package list": package_list,
    "result.json": record(Result),
    "cases.jsonl": record(CaseRecord),
    "damage.jsonl": record(DamageRecord),
    "before.jsonl": record(BaselineRecord),
    "schema version": version,
    **{f"hook {name}": hook(name) for name in hook_names()},
    **{f"options of {name}": options(name) for name in METHODS},
}
"""What ``<!-- generated: NAME -->`` on a page stands for."""
