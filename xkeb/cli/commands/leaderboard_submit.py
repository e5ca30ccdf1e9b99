"""xkeb leaderboard submit: a checked folder for a pull request."""

from __future__ import annotations

from pathlib import Path

import click

from xkeb.cli.echo import plain_line, say
from xkeb.cli.options import data_dir_option


@click.command("submit")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT..")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@data_dir_option
def command(results: tuple[Path, ...], folder: Path, data_dir: Path | None) -> None:
    """Prepare results for a pull request: check them, copy each with its cases to DIR, and write a README for the reviewer.

    RESULT is a result.json, or a folder with such at any depth. Nothing is written unless all of them pass `xkeb leaderboard
    check`. DIR has to be empty, or not to be there.

    \b
    xkeb leaderboard submit results leaderboard/results/NAME
    """
    from xkeb.leaderboard.verify.source import Sources
    from xkeb.leaderboard.verify.submission import prepare_submission

    for one in prepare_submission(results, folder, Sources(data_dir)):
        say(plain_line(f"{folder / one.place}: {one.summary}"))
    say(f"Commit {folder} and open a pull request: docs/submitting.md says how.")
