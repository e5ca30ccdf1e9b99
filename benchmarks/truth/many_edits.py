"""How a method holds as more and more facts go into one change, on real records.

The values of all the records are found once, where the method searches for values. For each count, the first so many are
written together, and up to 50 of them are asked: reliability, generality in the language of the edit, and locality in both,
F1 / EM times 100.

    python benchmarks/truth/many_edits.py --data-dir DIR [--method memit|emmet|alphaedit|ultraedit] [--model M]
        [--counts 1,10,100,500] [--language en|zh]
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

import xkeb
from xkeb.cli.telling import Telling
from xkeb.editing.editor import options_of, prepare, supported_cases
from xkeb.evaluation.job import training_facts
from xkeb.evaluation.probing import predict_edited
from xkeb.models.backbone import Backbone
from xkeb.models.prediction import predict
from xkeb.registry.manager import get_plugins
from xkeb.types import Case, Prediction, Probe, Query
from xkeb_plugins.methods.locate.spread_editor import SpreadEditor
from xkeb_plugins.methods.ultraedit.editor import UltraEdit

METHODS = ("memit", "emmet", "alphaedit", "ultraedit")
TASKS = {"en": "bizsre_en2zh", "zh": "bizsre_zh2en"}
ASKED = 50
"""Most records that are asked after each change."""
Column = tuple[str, str]
"""Property and language."""


def probes_of(case: Case) -> list[Probe]:
    """What is asked of a record."""
    wanted = {"reliability": (case.edit.language,), "generality": (case.edit.language,), "locality": tuple(TASKS)}
    return [probe for probe in case.probes if probe.language in wanted.get(probe.property, ())]


def columns(language: str) -> list[Column]:
    return [("reliability", language), ("generality", language), *(("locality", code) for code in TASKS)]


def queries(probes: Sequence[Probe]) -> list[Query]:
    return [Query(probe.prompt, probe.reference, probe.language) for probe in probes]


def means(
    backbone: Backbone, probes: Sequence[Probe], before: Sequence[Prediction], after: Sequence[Prediction]
) -> dict[Column, str]:
    """Mean F1 / EM of each column."""
    scores: dict[Column, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for probe, old, new in zip(probes, before, after, strict=True):
        gold = old if probe.judged_by == "before" else backbone.encode_reference(probe.reference)
        for metric in ("f1", "em"):
            score = get_plugins().metrics.get(metric)(new, gold, get_plugins().languages.get(probe.language))
            scores[probe.property, probe.language][metric].append(100 * score)
    return {
        column: " / ".join(f"{sum(values) / len(values):.1f}" for values in by_metric.values())
        for column, by_metric in scores.items()
    }


def table(language: str, rows: Sequence[tuple[str, str, dict[Column, str]]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield f"| facts | seconds | {' | '.join(f'{code}: {name}' for name, code in columns(language))} |"
    yield "|" + "---|" * (2 + len(columns(language)))
    for facts, seconds, scores in rows:
        yield f"| {facts} | {seconds} | {' | '.join(scores[column] for column in columns(language))} |"


@click.command(cls=Telling)
@click.option("--data-dir", type=Path)
@click.option("--method", type=click.Choice(METHODS), default="memit", show_default=True)
@click.option("--model", default="gemma3-270m", show_default=True)
@click.option("--counts", default="1,10,100,500", show_default=True)
@click.option("--language", type=click.Choice(list(TASKS)), default="en", show_default=True)
def main(data_dir: Path | None, method: str, model: str, counts: str, language: str) -> None:
    numbers = sorted({int(count) for count in counts.split(",")})
    backbone = xkeb.load_backbone(model)
    task = xkeb.load_task(TASKS[language], data_dir=data_dir)
    untrained = xkeb.load_editor(method)
    editor = prepare(untrained, backbone, training_facts(method, untrained, task.training))
    assert isinstance(editor, SpreadEditor | UltraEdit)
    cases = supported_cases(editor, backbone, list(task))
    if numbers[-1] > len(cases):
        raise click.UsageError(f"{task.name} has {len(cases)} records whose subject stands in the prompt.")
    edits = [case.edit for case in cases[: numbers[-1]]]
    options = ", ".join(f"{name}={value}" for name, value in options_of(editor).items() if value is not None)
    click.echo(f"{model}, {task.name}, {method}: {options}")
    started = time.perf_counter()
    found = editor.find_values(backbone, edits) if isinstance(editor, SpreadEditor) else []
    click.echo(f"values of {len(edits)} records: {time.perf_counter() - started:.0f} s")

    asked = [probe for case in cases[: min(ASKED, numbers[-1])] for probe in probes_of(case)]
    before = predict(backbone, queries(asked))
    rows = [("(baseline)", "", means(backbone, asked, before, before))]
    for count in numbers:
        started = time.perf_counter()
        if isinstance(editor, SpreadEditor):
            change = editor.write_values(backbone, edits[:count], found[:count])
        else:
            change = editor.edit_together(backbone, edits[:count])
        seconds = f"{time.perf_counter() - started:.1f}"
        some = [probe for case in cases[: min(ASKED, count)] for probe in probes_of(case)]
        after = predict_edited(backbone, change, queries(some))
        rows.append((str(count), seconds, means(backbone, some, before[: len(some)], after)))
    for line in table(language, rows):
        click.echo(line)


if __name__ == "__main__":
    main()
