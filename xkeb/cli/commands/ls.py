"""xkeb ls: what there is."""

from __future__ import annotations

import ast
import fnmatch
import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from xkeb.cli.echo import say_json
from xkeb.cli.options import include_option, json_option
from xkeb.cli.source_reading import declared_sights, find_definition
from xkeb.errors import RequestError, one_line, unknown

Row = dict[str, Any]
LONGEST = 48
"""Characters of a list of names in a table; of a longer one their number is told."""


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
@click.argument("name", required=False)
@include_option
@json_option
def command(kind: str | None, name: str | None, include_path: tuple[Path, ...], as_json: bool) -> None:
    """List tasks, methods, models, languages, pairs, metrics, data sets, executors, observers or plugins; all without KIND.

    NAME is one of them, a group of tasks, whose tasks are listed, or a pattern such as 'mzsre_*'. Without it, tasks that a
    group holds are left out of the table.

    \b
    xkeb ls tasks mzsre_all2all
    """
    kinds = [kind] if kind else list(KINDS)
    if include_path and "tasks" not in kinds:
        raise RequestError(f"--include-path brings more tasks; there are none among {kind}.")
    listers: dict[str, Callable[[], list[Row]]] = {**KINDS, "tasks": functools.partial(_tasks, include_path)}
    if as_json:
        listing: Any = _named(listers[kind](), name, kind) if kind else {one: listers[one]() for one in kinds}
        say_json(listing)
        return
    from xkeb.cli.output import make_console, make_table

    out = make_console()
    for one in kinds:
        every = listers[one]()
        rows = _named(every, name, one) if name is not None else _not_in_a_group(every)
        columns = list(dict.fromkeys(key for row in rows for key in row))
        if out.is_terminal:  # a description says them, and has the room that they take
            alike = len({row.get("plugin") for row in rows}) == 1
            left = {"dataset", "pair", "version"} | ({"plugin"} if alike else set())
            columns = [column for column in columns if column not in left]
        table = make_table(None if kind else one, columns, out)
        if table.columns:
            table.columns[0].no_wrap = True  # a name that is broken can't be copied
        for row in rows:
            table.add_row(*(_text(column, row.get(column, "")) for column in columns))
        out.print(table)
        if name is None and len(rows) < len(every):
            out.print(
                f"{len(every) - len(rows)} more stand in these groups: xkeb ls tasks NAME; all: xkeb ls tasks '*'."
            )
        if one == "pairs" and name is None:
            out.print("Any other two languages make a pair as well: source-target.")
        if not kind:
            out.print()


def _not_in_a_group(rows: Sequence[Row]) -> list[Row]:
    held = {name for row in rows for name in row.get("tasks", ())}
    return [row for row in rows if row["name"] not in held]


def _named(rows: Sequence[Row], name: str | None, kind: str) -> list[Row]:
    """The row of that name and, of a group, those of its tasks; or the rows whose names follow the pattern.

    Raises:
        RequestError: there is none.
    """
    if name is None:
        return list(rows)
    by_name = {row["name"]: row for row in rows}
    if name in by_name:
        return [by_name[name], *(by_name[one] for one in by_name[name].get("tasks", ()) if one in by_name)]
    found = [row for row in rows if fnmatch.fnmatchcase(row["name"], name)]
    if not found:
        raise unknown(f"name among {kind}:", name, by_name)
    return found


def _text(column: str, value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    names = ", ".join(map(str, value))
    return names if len(names) <= LONGEST else f"{len(value)} {column}"
