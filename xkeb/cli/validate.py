"""xkeb validate: is this task file right?"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from xkeb.errors import RequestError


@click.command("validate")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.yaml..")
def command(files: tuple[Path, ...]) -> None:
    """Check task files: their keys, their values, and every name in them."""
    from xkeb.tasks import check_members, definitions, read_definition

    wrong = 0
    for path in files:
        try:
            definition = read_definition(path)
            known = dict(definitions())
            for sibling in path.parent.glob("*.yaml"):
                with contextlib.suppress(RequestError):
                    found = read_definition(sibling)
                    known.setdefault(found.name, found)
            check_members(definition, known)
        except RequestError as error:
            wrong += 1
            click.echo(f"xkeb: {error}", err=True)
        else:
            click.echo(f"{path}: {definition.name} is valid")
    sys.exit(2 if wrong else 0)
