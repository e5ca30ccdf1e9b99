"""Teacher forcing and free answers side by side, as Markdown, from the result.json files of runs with both protocols.

Of each property and language: exact match under teacher forcing, then exact match and share of answers that contain the right
one, answered freely; and how many free answers are in the wrong language, of those where that can be told. Times 100.

    python benchmarks/truth/beside.py OUT [--slice answers=differ]
"""

from __future__ import annotations

from pathlib import Path

import click

from xkeb.cli.telling import Telling
from xkeb.results.result import Result
from xkeb.results.scores import Scores
from xkeb.tasks.asked import GENERATE
from xkeb.types import PROPERTIES, Property

SHOWN: tuple[Property, ...] = tuple(name for name in PROPERTIES if name not in ("reliability", "locality"))
"""Beside reliability. Locality compares with the model's own answers, which may have no length in common."""


@click.command(cls=Telling)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--slice", "within", metavar="KIND=VALUE", help="Of the cases of a slice.")
def main(folder: Path, within: str | None) -> None:
    results = [Result.load(path) for path in sorted(folder.glob("*/*/*/result.json"))]
    free = {(one.task.name, one.method.name): one for one in results if one.protocol == GENERATE}
    codes = sorted({code for result in results for code in result.task.direction.languages})
    columns = ["edited in", "method", "cases", "reliability", *(f"{code}: {name}" for code in codes for name in SHOWN)]
    click.echo("| " + " | ".join([*columns, *(f"wrong, {code}" for code in codes)]) + " |")
    click.echo("|---" * (len(columns) + len(codes)) + "|")
    for forced in sorted(results, key=lambda one: one.task.source):
        said = free.get((forced.task.name, forced.method.name))
        if forced.protocol == GENERATE or said is None:
            continue
        source = forced.task.source
        both = _scores(forced, within), _scores(said, within)
        cells = [_cell(*both, "reliability", source), *(_cell(*both, name, code) for code in codes for name in SHOWN)]
        count = str(both[0]["reliability"][source]["em"].n)
        wrong = [_wrong(both[1], code) for code in codes]
        click.echo("| " + " | ".join([source, forced.method.name, count, *cells, *wrong]) + " |")


def _scores(result: Result, within: str | None) -> Scores:
    return result.scores if within is None else result.slices[within]


def _cell(forced: Scores, said: Scores, name: Property, code: str) -> str:
    em = forced.get(name, {}).get(code, {}).get("em")
    free = said.get(name, {}).get(code, {})
    if em is None or not free:
        return ""
    return f"{em.mean:.1f} → {free['exact'].mean:.1f} ({free['contains'].mean:.1f})"


def _wrong(said: Scores, code: str) -> str:
    """Of the answers to questions that generality asks in a language."""
    told = said.get("generality", {}).get(code, {}).get("wrong_language")
    return "" if told is None else f"{told.mean:.1f} of {told.n}"


if __name__ == "__main__":
    main()
