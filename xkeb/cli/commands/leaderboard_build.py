"""xkeb leaderboard build: results and published numbers as a site."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from xkeb.cli.echo import complain, say


@click.command("build")
@click.option(
    "--results",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with results anywhere below it; may be given several times.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("site"),
    show_default=True,
    metavar="DIR",
    help="Where the site goes.",
)
@click.option(
    "--published/--no-published", default=True, show_default=True, help="The paper's numbers beside one's own."
)
def command(results: tuple[Path, ...], output: Path, published: bool) -> None:
    """Write the leaderboard: static pages that need no server.

    \b
    xkeb leaderboard build --results results --output site
    """
    from xkeb.leaderboard.site.build import build_site
    from xkeb.results.reader import find_result_files

    for folder in results:
        find_result_files(folder)
    built = build_site(results, output, with_published=published)
    say(f"{built.n_published} published and {built.n_results} own rows: {built.index}")
    for one in built.broken:
        complain(f"{one.path} is not shown: it {one.reason}.")
    sys.exit(1 if built.broken else 0)
