"""xkeb leaderboard check: are these results what they say they are?"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from xkeb.cli.echo import complain, plain_line, say
from xkeb.cli.options import data_dir_option

SHOWN = 20
"""Problems of one file that are printed without ``--all``."""


@click.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE|FOLDER..")
@data_dir_option
@click.option("--all", "every", is_flag=True, help=f"Print every problem, not the first {SHOWN} of a file.")
def command(files: tuple[Path, ...], data_dir: Path | None, every: bool) -> None:
    """Check submitted results: a result.json with its cases.jsonl beside it, or a folder of such.

    Every score is computed again from the cases, and the cases are compared with the data where it is at hand. Exit status: 0
    all are right, 1 some are not, 2 the request is wrong.
    """
    from xkeb.leaderboard.verify.check import check_result
    from xkeb.leaderboard.verify.source import Sources
    from xkeb.results.reader import find_result_files

    sources = Sources(data_dir)
    wrong = 0
    for path in dict.fromkeys(result for file in files for result in find_result_files(file)):
        name = str(path)
        report = check_result(path, sources)
        if not report.problems:
            say(plain_line(f"{name}: {report.summary}"))
            continue
        wrong += 1
        for problem in report.problems[: None if every else SHOWN]:
            complain(f"{name}: {problem}")
        if len(report.problems) > SHOWN and not every:
            complain(f"{name}: {len(report.problems) - SHOWN:,} more problems (--all).")
    sys.exit(1 if wrong else 0)
