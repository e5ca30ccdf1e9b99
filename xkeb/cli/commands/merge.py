"""xkeb merge: results of parts of the cases, joined."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from xkeb.cli.options import data_dir_option, include_option


@click.command("merge")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT..")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Where the joined results go; those that are read stay as they are.",
)
@data_dir_option
@include_option
def command(results: tuple[Path, ...], output: Path, data_dir: Path | None, include_path: tuple[Path, ...]) -> None:
    """Join RESULTs of parts of one job's cases: files, or folders that hold results.

    Parts are made with --cases, each in an --output of its own. Their settings must be equal, and no case may have two
    different lines. Where the task's data is here, the cases are in its order.

    \b
    xkeb merge part-1 part-2 --output results
    """
    from xkeb.cli.score_table import show_table
    from xkeb.evaluation.merging import merge
    from xkeb.utils.secrets import command_line

    line = command_line(["xkeb", *sys.argv[1:]])
    show_table(merge(results, output, data_dir=data_dir, include=include_path, command=line), output)
