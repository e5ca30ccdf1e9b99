"""xkeb validate: is this task file right?"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xkeb.errors import XkebError

if TYPE_CHECKING:
    from xkeb.task_files import Definition


@click.command("validate")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.yaml..")
def command(files: tuple[Path, ...]) -> None:
    """Check task files: their keys, their values, and every name in them."""
    from xkeb.task_files import read_definitions
    from xkeb.tasks import check_members, definitions

    wrong = 0
    for path in files:
        try:
            found = read_definitions(path)
            known = dict(definitions())
            for sibling in path.parent.glob("*.yaml"):
                with contextlib.suppress(XkebError):
                    for definition in read_definitions(sibling):
                        known.setdefault(definition.name, definition)
            for definition in found:
                check_members(definition, known)
        except XkebError as error:
            wrong += 1
            click.echo(f"xkeb: {error}", err=True)
        else:
            click.echo(f"{path}: {_named(found)} valid")
    sys.exit(2 if wrong else 0)


def _named(found: Sequence[Definition]) -> str:
    """The only name with its verb, or how many names from which to which."""
    return f"{found[0].name} is" if len(found) == 1 else f"{found[0].name} to {found[-1].name} ({len(found)}) are"
