"""xkeb plot: results as pictures for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xkeb.cli.echo import say
from xkeb.cli.options import split_names
from xkeb.errors import RequestError

if TYPE_CHECKING:
    from xkeb.leaderboard.plotting import Kind
    from xkeb.results.group import Across

KINDS = ("matrix", "families", "balance", "retention", "gap")


@click.command("plot")
@click.argument("kind", type=click.Choice(KINDS), metavar="|".join(KINDS))
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT..")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("pictures"),
    show_default=True,
    metavar="DIR",
    help="Where the pictures go.",
)
@click.option("--formats", default="svg", show_default=True, metavar="svg,png", help="PNG needs the extra `plot`.")
@click.option(
    "--scale", type=click.FloatRange(0.5, 10), default=3.0, show_default=True, help="Pixels of PNG to a unit."
)
@click.option(
    "--across",
    type=click.Choice(["protocol", "prompt", "regime", "task"]),
    help="Of gap: what the two results of a method differ in.  [default: protocol]",
)
@click.option("--metric", metavar="M", help="Of gap.  [default: the exact one, such as em]")
def command(
    kind: Kind,
    results: tuple[Path, ...],
    output: Path,
    formats: str,
    scale: float,
    across: Across | None,
    metric: str | None,
) -> None:
    """Draw RESULTs, files or folders with such at any depth, and write each picture with its numbers as CSV.

    \b
    matrix     what crosses between all languages: heat maps, a method each
    families   what crosses, against the family and script of the language
    balance    reliability against locality
    retention  what is kept of earlier edits of a sequence
    gap        each method asked in two ways, such as teacher forcing and
               free answers

    Results that aren't comparable never stand in one picture. The pictures are those of the site, on white.

    \b
    xkeb plot matrix results --formats svg,png
    xkeb plot balance results/TASK
    xkeb plot gap --across protocol results/TASK/MODEL
    """
    from xkeb.leaderboard.plotting import plot

    chosen = split_names(formats)
    if not chosen:
        raise RequestError("--formats names nothing: svg, png.")
    for name, value in (("--across", across), ("--metric", metric)):
        if value is not None and kind != "gap":
            raise RequestError(f"{name} is for gap, not for {kind}.")
    for picture in plot(kind, results, output, formats=chosen, across=across or "protocol", metric=metric, scale=scale):
        say(picture.chart.title)
        for file in picture.files:
            say(f"  {file}")
