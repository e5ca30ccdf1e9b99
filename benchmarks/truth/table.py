"""The tables of docs/results.md from result.json files, as Markdown: F1 / EM of a protocol, or F1 with its interval.

python benchmarks/truth/table.py OUT [OUT..] [--protocol generate] [--slice answers=differ] [--intervals]
"""

from __future__ import annotations

from pathlib import Path

import click

from xkeb.cli.telling import Telling
from xkeb.results.result import Result
from xkeb.results.scores import Scores
from xkeb.results.settings import HEADLINES
from xkeb.tasks.asked import TEACHER_FORCING
from xkeb.types import PROPERTIES, Property


@click.command(cls=Telling)
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--protocol", type=click.Choice(list(HEADLINES)), default=TEACHER_FORCING, show_default=True)
@click.option("--slice", "within", metavar="KIND=VALUE", help="Of the cases of a slice.")
@click.option("--intervals", is_flag=True, help="F1 and its 95% interval, without EM.")
def main(folders: tuple[Path, ...], protocol: str, within: str | None, intervals: bool) -> None:
    found = [Result.load(path) for folder in folders for path in sorted(folder.glob("*/*/*/result.json"))]
    results = [result for result in found if result.protocol == protocol]
    codes = sorted({code for result in results for code in result.task.direction.languages})
    others: list[Property] = [name for name in PROPERTIES if name != "reliability"]
    columns = ["edited in", "method", "cases", "reliability", *(f"{code}: {name}" for code in codes for name in others)]
    click.echo("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for source in codes:
        group = [result for result in results if result.task.source == source]
        for result, name, scores in [
            *((result, "(baseline)", _scores(result, within, before=True)) for result in group[:1]),
            *((result, result.method.name, _scores(result, within)) for result in group),
        ]:
            metrics = HEADLINES[result.protocol]
            cells = [_cell(scores, "reliability", source, metrics, intervals=intervals)]
            cells += [_cell(scores, other, code, metrics, intervals=intervals) for code in codes for other in others]
            count = str(scores["reliability"][source][metrics[0]].n)
            click.echo("| " + " | ".join([result.task.source, name, count, *cells]) + " |")


def _scores(result: Result, within: str | None, *, before: bool = False) -> Scores:
    if within is None:
        return result.scores_before if before else result.scores
    return (result.slices_before if before else result.slices)[within]


def _cell(scores: Scores, prop: Property, code: str, metrics: tuple[str, str], *, intervals: bool) -> str:
    measured = scores.get(prop, {}).get(code)
    if measured is None:
        return ""
    f1, em = (measured[metric] for metric in metrics)
    return f"{f1.mean:.1f} ({f1.ci95[0]:.1f} to {f1.ci95[1]:.1f})" if intervals else f"{f1.mean:.1f} / {em.mean:.1f}"


if __name__ == "__main__":
    main()
