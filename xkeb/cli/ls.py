"""xkeb ls: what there is."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from xkeb.errors import one_line

Row = dict[str, Any]


def _tasks() -> list[Row]:
    from xkeb.task_files import TaskFile
    from xkeb.tasks import definitions

    rows = []
    for name, definition in sorted(definitions().items()):
        content = definition.content
        if isinstance(content, TaskFile):
            rows.append(
                {"name": name, "dataset": content.dataset_name, "pair": content.pair, "version": content.version}
            )
        else:
            rows.append({"name": name, "tasks": content.tasks})
        rows[-1]["description"] = content.description
    return rows


def _catalogue(attribute: str, describe: Callable[[Any], Row]) -> Callable[[], list[Row]]:
    def rows() -> list[Row]:
        from xkeb.plugins import plugins

        catalogue = getattr(plugins(), attribute)
        return [
            {"name": name, "plugin": catalogue.entries[name].plugin, **_described(catalogue.entries[name], describe)}
            for name in catalogue
        ]

    return rows


def _described(entry: Any, describe: Callable[[Any], Row]) -> Row:
    """Or what is wrong with it: one plugin's mistake must not hide all the others."""
    try:
        return describe(entry)
    except Exception as error:
        return {"description": f"can't be read: {one_line(error)}"}


def _summary(entry: Any) -> Row:
    """The first sentence of a class's docstring, read without importing it: a method's module needs torch."""
    if not isinstance(entry.thing, str):
        return {"description": _first_sentence(inspect.getdoc(entry.thing))}
    module, _, name = entry.thing.partition(":")
    spec = importlib.util.find_spec(module)
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8")) if spec and spec.origin else ast.Module([], [])
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return {"description": _first_sentence(ast.get_docstring(classes[0])) if classes else ""}


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split()).split(". ")[0].removesuffix(".")


def _plugins() -> list[Row]:
    from xkeb.plugins import plugins

    return [{"name": name} for name in plugins().names()]


KINDS: dict[str, Callable[[], list[Row]]] = {
    "tasks": _tasks,
    "methods": _catalogue("methods", _summary),
    "models": _catalogue("models", _summary),
    "languages": _catalogue("languages", lambda entry: {"language": entry.load().name}),
    "pairs": _catalogue("pairs", lambda entry: {"source": entry.load().source, "target": entry.load().target}),
    "metrics": _catalogue("metrics", _summary),
    "datasets": _catalogue("datasets", lambda entry: {"languages": list(getattr(entry.load(), "languages", ()))}),
    "plugins": _plugins,
}


@click.command("ls")
@click.argument("kind", type=click.Choice(list(KINDS)), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(kind: str | None, as_json: bool) -> None:
    """List tasks, methods, models, languages, pairs, metrics, data sets or plugins; all of them without KIND."""
    kinds = [kind] if kind else list(KINDS)
    if as_json:
        found: Any = KINDS[kind]() if kind else {name: KINDS[name]() for name in kinds}
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    out = Console(highlight=False)
    out = out if out.is_terminal else Console(highlight=False, width=200)
    for name in kinds:
        rows = KINDS[name]()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = Table(title=None if kind else name, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(_text(row.get(column, "")) for column in columns))
        out.print(table)
        if name == "pairs":
            out.print("Any other two languages make a pair as well: source-target.")
        if not kind:
            out.print()


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
