"""The table of docs/results.md from result.json files, as Markdown.

python benchmarks/truth/table.py OUT [OUT..]
"""

from __future__ import annotations

from pathlib import Path

import click

from xkeb.results.schema import Result, Scores
from xkeb.types import PROPERTIES, Property


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folders: tuple[Path, ...]) -> None:
    results = [Result.load(path) for folder in folders for path in sorted(folder.glob("*/*/*/result.json"))]
    codes = sorted({code for result in results for code in (result.task.source, result.task.target)})
    others: list[Property] = [name for name in PROPERTIES if name != "reliability"]
    columns = ["edited in", "method", "reliability", *(f"{code}: {name}" for code in codes for name in others)]
    click.echo("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for source in codes:
        group = [result for result in results if result.task.source == source]
        for result, name, scores in [
            *((result, "(baseline)", result.scores_before) for result in group[:1]),
            *((result, result.method.name, result.scores) for result in group),
        ]:
            cells = [_cell(scores, "reliability", source)]
            cells += [_cell(scores, other, code) for code in codes for other in others]
            click.echo("| " + " | ".join([result.task.source, name, *cells]) + " |")


def _cell(scores: Scores, prop: Property, code: str) -> str:
    measured = scores[prop][code]
    return f"{measured['f1'].mean:.1f} / {measured['em'].mean:.1f}"


if __name__ == "__main__":
    main()
