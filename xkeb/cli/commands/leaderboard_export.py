"""xkeb leaderboard export: results in the schema of Every Eval Ever."""

from __future__ import annotations

import time
from pathlib import Path

import click

from xkeb.cli.echo import plain_line, say

RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")


@click.command("export")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT..")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the records go, below data/xkeb.",
)
@click.option("--organization", required=True, metavar="NAME", help="Who made the results.")
@click.option("--developer", metavar="NAME", help="Who made the model; of one from the hub, its address says it.")
@click.option(
    "--relationship",
    type=click.Choice(RELATIONSHIPS),
    default="other",
    show_default=True,
    help="Of the organization to the developer.",
)
def command(
    results: tuple[Path, ...], output: Path, organization: str, developer: str | None, relationship: str
) -> None:
    """Write results as records of Every Eval Ever, the shared schema of evaluation results, with every answer.

    RESULT is a result.json, or a folder with such at any depth. The two metrics of the protocol's tables are exported.

    \b
    xkeb leaderboard export results --output records --organization "Our lab"
    """
    from xkeb.leaderboard.every_eval_ever import Submitter, export_records
    from xkeb.results.reader import find_result_files

    submitter = Submitter(organization, relationship, developer)
    retrieved = time.time()
    for path in dict.fromkeys(file for result in results for file in find_result_files(result)):
        record, _ = export_records(path, output, submitter, retrieved)
        say(plain_line(str(record)))
