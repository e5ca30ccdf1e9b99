"""xkeb rescore: other metrics, or another cut, over answers that are kept."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from xkeb.cli.options import split_names


@click.command("rescore")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT..")
@click.option("--metrics", metavar="M[,M]", help="Metrics (xkeb ls metrics).  [default: those of each result]")
@click.option("--protocol-args", metavar="K=V", help="Another cut of free answers: cut=sentence or cut=line.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Where the new results go; those that are read stay as they are.",
)
def command(results: tuple[Path, ...], metrics: str | None, protocol_args: str | None, output: Path) -> None:
    """Score RESULTs anew, without a model: files, or folders that hold results.

    The answers are kept in cases.jsonl, so that another metric, or another rule for where a free answer ends, needs no new run.

    \b
    xkeb rescore results --metrics exact,contains --output rescored
    """
    from xkeb.cli.score_table import show_table
    from xkeb.evaluation.rescoring import rescore
    from xkeb.registry.options import parse_options
    from xkeb.utils.secrets import command_line

    names = split_names(metrics) if metrics is not None else None
    args = parse_options(protocol_args, "--protocol-args")
    line = command_line(["xkeb", *sys.argv[1:]])
    show_table([result for path in results for result in rescore(path, output, names, args, line)], output)
