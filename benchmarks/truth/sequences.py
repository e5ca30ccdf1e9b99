"""What is left of many edits and what they harmed, as a Markdown table: those of docs/sequences.md.

    python benchmarks/truth/sequences.py OUT [OUT..] [--data-dir DIR]

F1 / EM of all cases, asked when the regime says. *Damage* is KL from the untouched model, in nats, and the edited model's
perplexity as a multiple of the untouched one's. *Kept of N* is reliability (F1) of the first N edits, asked after N, with its
interval. With `--data-dir`, EM of the cases whose subject no other record of the task has, and how many they are: what
contradicts another edit can't be kept.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from pathlib import Path

import click

from xkeb.cli.telling import Telling
from xkeb.results.lines import CASES
from xkeb.results.result import Result
from xkeb.tasks.task import load_task


@click.command(cls=Telling)
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--data-dir", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Of the records.")
def main(folders: tuple[Path, ...], data_dir: Path | None) -> None:
    found = [path for folder in folders for path in sorted(folder.glob("*/*/*/result.json"))]
    results = [(Result.load(path), path.parent) for path in found]
    regimes = [str(result.regime) for result, _ in results]
    if len(set(regimes)) > 1 or len({result.model.name for result, _ in results}) > 1:
        raise click.UsageError("The results are of several models or regimes; a table is of one.")
    codes = sorted({code for result, _ in results for code in result.task.direction.languages})
    counts = sorted({int(point) for result, _ in results if result.retention for point in result.retention})
    columns = ["edited in", "method", "cases", "reliability"]
    columns += [f"{code}: {name}" for code in codes for name in ("generality", "locality")]
    columns += ["alone: reliability", "generality"] if data_dir else []
    columns += [f"{code}: damage" for code in codes] + [f"kept of {count}" for count in counts] + ["s an edit"]
    click.echo("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for result, folder in sorted(results, key=lambda one: (one[0].task.source, one[0].method.name)):
        source = result.task.source
        cells = [source, result.method.name, str(result.scores["reliability"][source]["f1"].n)]
        cells.append(_cell(result, "reliability", source))
        cells += [_cell(result, name, code) for code in codes for name in ("generality", "locality")]
        cells += _alone(result, folder, data_dir) if data_dir else []
        cells += [_damage(result, code) for code in codes]
        cells += [_kept(result, str(count), source) for count in counts]
        cells.append(f"{result.timing.phases.edit / len(result.case_ids):.2f}")
        click.echo("| " + " | ".join(cells) + " |")


def _cell(result: Result, prop: str, code: str) -> str:
    measured = result.scores.get(prop, {}).get(code)  # type: ignore[call-overload]
    return f"{measured['f1'].mean:.1f} / {measured['em'].mean:.1f}" if measured else ""


def _alone(result: Result, folder: Path, data_dir: Path) -> list[str]:
    """EM of reliability and generality in the edit's language."""
    source = result.task.source
    subjects = Counter(case.edit.subject for case in load_task(result.task.name, data_dir=data_dir))
    cases = map(json.loads, (folder / CASES).read_text(encoding="utf-8").splitlines())
    mine = [case for case in cases if case["status"] == "ok" and subjects[case["edit"]["subject"]] == 1]
    return [
        f"{100 * statistics.mean(scores):.1f} ({len(scores)})" if scores else ""
        for prop in ("reliability", "generality")
        for scores in [
            [
                probe["scores"]["em"]
                for case in mine
                for probe in case["probes"]
                if (probe["property"], probe["language"]) == (prop, source)
            ]
        ]
    ]


def _damage(result: Result, code: str) -> str:
    if result.damage is None:
        return ""
    last = result.damage.after[max(result.damage.after, key=int)].languages.get(code)
    if last is None:
        return ""
    kl = "" if last.kl is None else f"{last.kl:.2f}"
    text = last.perplexity
    return f"{kl}, {text.after / text.before:.2g}×" if text and text.after and text.before else kl


def _kept(result: Result, count: str, source: str) -> str:
    point = (result.retention or {}).get(count)
    if not point:
        return ""
    kept = point["reliability"][source]["f1"]
    low, high = kept.ci95
    return f"{kept.mean:.1f} ({low:.0f} to {high:.0f})"


if __name__ == "__main__":
    main()
