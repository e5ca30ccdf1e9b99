"""xkeb leaderboard build: results and published numbers as a site."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from xkeb.cli.echo import complain, say
from xkeb.cli.options import data_dir_option


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
@click.option("--check", is_flag=True, help="Check each result; those that pass get the badge `recomputed`.")
@data_dir_option
@click.option(
    "--reruns",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with your own second runs: results of the same settings and cases get the badge `re-run`.",
)
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Processes that read results and write their pages. By default one for each core, fewer for few results.",
)
def command(
    results: tuple[Path, ...],
    output: Path,
    published: bool,
    check: bool,
    data_dir: Path | None,
    reruns: tuple[Path, ...],
    workers: int | None,
) -> None:
    """Write the leaderboard: static pages for any web server. Opened as files, all work but the case browser.

    \b
    xkeb leaderboard build --results results --output site
    """
    from xkeb.leaderboard.site.build import build_site
    from xkeb.leaderboard.verify.source import Sources
    from xkeb.results.reader import find_result_files

    for folder in (*results, *reruns):
        find_result_files(folder)
    sources = Sources(data_dir) if check else None
    built = build_site(results, output, with_published=published, sources=sources, reruns=reruns, workers=workers)
    say(f"{built.n_published} published and {built.n_results} own rows: {built.index}")
    for one in built.broken:
        complain(f"{one.path} is not shown: it {one.reason}.")
    for failed in built.failed:
        more = f" ({len(failed.problems) - 1:,} more)" if failed.problems[1:] else ""
        complain(f"{failed.path} doesn't pass the check: {failed.problems[0]}{more}")
    sys.exit(1 if built.broken or built.failed else 0)
