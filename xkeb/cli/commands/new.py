"""xkeb new: a small package that adds something, to be filled in."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xkeb.cli.echo import say
from xkeb.errors import RequestError

if TYPE_CHECKING:
    from xkeb.registry.registry import Registry

if TYPE_CHECKING:
    pass

KINDS = ("method", "model", "language", "task")
NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
CODE = re.compile(r"[a-z]{2,3}")
FILES = {"pyproject.toml": "pyproject.toml", "README.md": "README.md", "{kind}_test.py": "test_{identifier}.py"}
"""Template -> file, of every kind."""
MODULE = {"{kind}.py": "{module}.py"}
FOLDER = {
    "{kind}.py": "{module}/__init__.py",
    "{kind}.yaml": "{module}/{name}.yaml",
    "{kind}.jsonl": "{module}/{name}.jsonl",
}


@click.command("new")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where the package's folder goes.  [default: here]",
)
def command(kind: str, name: str, output: Path) -> None:
    """Write a small package that adds a method, a model, a language or a task.

    It works as it is: install it with pip, and NAME is known to every command. A language's NAME is its ISO 639 code.
    """
    check_name(kind, name)
    folder = output / f"xkeb-{name.replace('_', '-')}"
    written = write(kind, name, folder)
    say(f"Wrote {', '.join(path.relative_to(folder).as_posix() for path in written)} to {folder}.")
    say(f"Next: pip install -e {folder if folder.is_absolute() else f'./{folder}'}")


def module_of(name: str) -> str:
    """What the package's module is imported as."""
    return f"xkeb_{name.replace('-', '_')}"


def check_name(kind: str, name: str) -> None:
    """Refuses a name that can't be used, or is taken.

    Raises:
        RequestError: says what was expected.
    """
    if kind == "language" and not CODE.fullmatch(name):
        raise RequestError(f"A language is named by its ISO 639 code, two or three lower-case letters; not {name!r}.")
    if not NAME.fullmatch(name):
        raise RequestError(
            f"A {kind} is named by lower-case letters and digits, a letter first, with single hyphens or underscores "
            f"between them, such as my-{kind}; not {name!r}."
        )
    if owner := _owner(kind, name):
        raise RequestError(f"There is a {kind} {name!r} already, of {owner}; choose another name.")
    if importlib.util.find_spec(module_of(name)):
        raise RequestError(f"A module {module_of(name)!r} is installed already; choose another name than {name!r}.")


def _owner(kind: str, name: str) -> str | None:
    """Who has registered a name."""
    from xkeb.registry.manager import get_plugins

    if kind == "task":
        from xkeb.tasks.task import load_definitions

        definitions = load_definitions()
        return str(definitions[name].path) if name in definitions else None
    plugins = get_plugins()
    registries: dict[str, Registry[Any]] = {
        "method": plugins.methods,
        "model": plugins.models,
        "language": plugins.languages,
    }
    registry = registries[kind]
    if name in registry.disputed:
        return "two plugins"
    return f"plugin {registry.entries[name].plugin!r}" if name in registry else None


def write(kind: str, name: str, folder: Path) -> list[Path]:
    """Writes the package.

    Raises:
        RequestError: the folder is there already, or can't be made.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from xkeb.tasks.task import shipped_task

    environment = Environment(  # noqa: S701 - it writes Python and Markdown, not HTML
        loader=PackageLoader("xkeb", "templates"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    title = "".join(part.capitalize() for part in re.split("[-_]", name))
    values = {
        "kind": kind,
        "name": name,
        "identifier": name.replace("-", "_"),
        "module": module_of(name),
        "package": folder.name,
        "task": shipped_task().name,
        "title": title + "_" * keyword.iskeyword(title),
    }
    files = {**FILES, **(FOLDER if kind == "task" else MODULE)}
    texts = {
        folder / path.format(**values): environment.get_template(f"{template.format(**values)}.jinja").render(values)
        for template, path in files.items()
    }
    try:
        folder.mkdir(parents=True)
        for path, text in texts.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except FileExistsError:
        raise RequestError(
            f"{folder} is there already, and is left as it is; choose another name or --output."
        ) from None
    except OSError as error:
        raise RequestError(f"{folder} can't be made: {error.strerror}.") from error
    return sorted(texts)
