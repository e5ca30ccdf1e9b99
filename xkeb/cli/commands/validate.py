"""xkeb validate: is this task file right?"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xkeb.cli.echo import complain, say
from xkeb.errors import RequestError, XkebError

if TYPE_CHECKING:
    from xkeb.tasks.config import Definition


@click.command("validate")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.yaml..")
def command(files: tuple[Path, ...]) -> None:
    """Check task files: their keys, their values, every name in them, and the tables that they name.

    A data set of the hub is not fetched.
    """
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
            rows = _read_tables(definitions)
        except XkebError as error:
            wrong += 1
            complain(error)
        else:
            say(f"{path}: {_named(definitions)} valid{rows}")
    sys.exit(2 if wrong else 0)


def _read_tables(definitions: Sequence[Definition]) -> str:
    """Reads the tables of the tasks that have one of their own; what they hold, in words.

    Raises:
        RequestError: a file, a row or a column isn't as it should be, or no row makes a case.
    """
    from xkeb.tasks.config import TaskFile
    from xkeb.tasks.task import make_task

    contents = [one.content for one in definitions if isinstance(one.content, TaskFile)]
    own = [one for one in contents if not isinstance(one.dataset, str) and one.dataset.format != "hub"]
    if not own:
        return ""
    told = []
    for content in own:
        task = make_task(content)
        skipped = task.test.skipped
        if not len(task):
            first = f"; the first: {skipped[0].reason}" if skipped else ""
            raise RequestError(
                f"Task {task.name!r} has no case that can be run: {len(skipped)} rows, all skipped{first}."
            )
        told.append(f"{len(task)} cases")
        if skipped:
            told.append(f"{len(skipped)} rows skipped, the first: {skipped[0].reason}")
        if not isinstance(content.dataset, str) and content.dataset.training is not None:
            told.append(f"{len(task.training.cases)} training facts")
    return f": {'; '.join(dict.fromkeys(told))}"


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
