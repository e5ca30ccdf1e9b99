"""xkeb validate: is this task file right?"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xkeb.cli.echo import complain, say
from xkeb.errors import XkebError

if TYPE_CHECKING:
    from xkeb.tasks.config import Definition


@click.command("validate")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.yaml..")
def command(files: tuple[Path, ...]) -> None:
    """Check task files: their keys, their values, and every name in them."""
    from xkeb.tasks.config import read_definitions
    from xkeb.tasks.task import check_members, load_definitions

    wrong = 0
    shipped = load_definitions()
    beside: dict[Path, dict[str, Definition]] = {}
    for path in files:
        try:
            definitions = read_definitions(path)
            if path.parent not in beside:
                beside[path.parent] = _in_folder(path.parent)
            catalogue = {**beside[path.parent], **shipped}
            for definition in definitions:
                check_members(definition, catalogue)
        except XkebError as error:
            wrong += 1
            complain(error)
        else:
            say(f"{path}: {_named(definitions)} valid")
    sys.exit(2 if wrong else 0)


def _in_folder(folder: Path) -> dict[str, Definition]:
    """The tasks and groups of a folder, as far as they are right: a group may name them."""
    from xkeb.tasks.config import read_definitions

    definitions: dict[str, Definition] = {}
    for path in sorted(folder.glob("*.yaml")):
        with contextlib.suppress(XkebError):
            for definition in read_definitions(path):
                definitions.setdefault(definition.name, definition)
    return definitions


def _named(definitions: Sequence[Definition]) -> str:
    """The only name with its verb, or how many names from which to which."""
    first, last = definitions[0].name, definitions[-1].name
    return f"{first} is" if len(definitions) == 1 else f"{first} to {last} ({len(definitions)}) are"
