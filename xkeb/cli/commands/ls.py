"""xkeb ls: what there is."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from xkeb.cli.echo import say_json
from xkeb.cli.options import include_option, json_option
from xkeb.cli.source_reading import declared_sights, find_definition
from xkeb.errors import RequestError, one_line

Row = dict[str, Any]


def _tasks(include: Sequence[Path] = ()) -> list[Row]:
    from xkeb.tasks.config import TaskFile
    from xkeb.tasks.task import load_definitions

    rows = []
    for name, definition in sorted(load_definitions(include).items()):
        content = definition.content
        if isinstance(content, TaskFile):
            rows.append(
                {
                    "name": name,
                    "dataset": content.dataset_name,
                    "pair": content.direction.name,
                    "version": content.version,
                }
            )
        else:
            rows.append({"name": name, "tasks": content.tasks})
        rows[-1]["description"] = content.description
    return rows


def _registry(attribute: str, describe: Callable[[Any], Row]) -> Callable[[], list[Row]]:
    def rows() -> list[Row]:
        from xkeb.registry.manager import get_plugins

        registry = getattr(get_plugins(), attribute)
        return [
            {"name": name, "plugin": registry.entries[name].plugin, **_described(registry.entries[name], describe)}
            for name in registry
        ]

    return rows


def _described(entry: Any, describe: Callable[[Any], Row]) -> Row:
    """Or what is wrong with it: one plugin's mistake must not hide all the others."""
    try:
        return describe(entry)
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises
        return {"description": f"can't be read: {one_line(error)}"}


def _summary(entry: Any) -> Row:
    """The first sentence of a docstring, read without importing anything: a method's module needs torch."""
    if not isinstance(entry.thing, str):
        return {"description": _first_sentence(inspect.getdoc(entry.thing))}
    definition = find_definition(entry.thing)
    return {"description": _first_sentence(ast.get_docstring(definition)) if definition else ""}


def _method(entry: Any) -> Row:
    """What a method sees, and the first sentence of its docstring."""
    return {"sees": [sight.value for sight in declared_sights(entry.thing)], **_summary(entry)}


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split()).split(". ")[0].removesuffix(".")


def _plugins() -> list[Row]:
    from xkeb.registry.manager import get_plugins

    return [{"name": name} for name in get_plugins().names()]


KINDS: dict[str, Callable[[], list[Row]]] = {
    "tasks": _tasks,
    "methods": _registry("methods", _method),
    "models": _registry("models", _summary),
    "languages": _registry("languages", lambda entry: {"language": entry.load().name}),
    "pairs": _registry("pairs", lambda entry: {"source": entry.load().source, "target": entry.load().target}),
    "metrics": _registry("metrics", _summary),
    "datasets": _registry("datasets", lambda entry: {"languages": list(getattr(entry.load(), "languages", ()))}),
    "executors": _registry("executors", _summary),
    "observers": _registry("observers", _summary),
    "plugins": _plugins,
}


@click.command("ls")
@click.argument("kind", type=click.Choice(list(KINDS)), required=False)
@include_option
@json_option
def command(kind: str | None, include_path: tuple[Path, ...], as_json: bool) -> None:
    """List tasks, methods, models, languages, pairs, metrics, data sets, executors, observers or plugins; all without KIND."""
    kinds = [kind] if kind else list(KINDS)
    if include_path and "tasks" not in kinds:
        raise RequestError(f"--include-path brings more tasks; there are none among {kind}.")
    listers: dict[str, Callable[[], list[Row]]] = {**KINDS, "tasks": functools.partial(_tasks, include_path)}
    if as_json:
        listing: Any = listers[kind]() if kind else {name: listers[name]() for name in kinds}
        say_json(listing)
        return
    from xkeb.cli.output import make_console, make_table

    out = make_console()
    for name in kinds:
        rows = listers[name]()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        if (
            out.is_terminal and len({row.get("plugin") for row in rows}) == 1
        ):  # it says nothing, and takes what others need
            columns = [column for column in columns if column != "plugin"]
        table = make_table(None if kind else name, columns, out)
        if table.columns:
            table.columns[0].no_wrap = True  # a name that is broken can't be copied
        for row in rows:
            table.add_row(*(_text(row.get(column, "")) for column in columns))
        out.print(table)
        if name == "pairs":
            out.print("Any other two languages make a pair as well: source-target.")
        if not kind:
            out.print()


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
