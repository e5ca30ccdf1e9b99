"""What xmem answers in the other language, with and without a gloss of the edit's answer, where training facts hold that answer
and where none does. Asked of training facts that are taken out of them; no test record is read.

    python benchmarks/truth/glosses.py --data-dir DIR [--task bizsre_en2zh] [--model M] [--limit 100] [--lexicon 0,16]
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

import click

import xkeb
from xkeb.cli.telling import Telling
from xkeb.editing.editor import make_changes, prepare
from xkeb.evaluation.probing import predict_edited
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.types import Case, Query
from xkeb_plugins.methods.memory.facts import plain

KINDS = ("held by others", "by none")


def of_kind(facts: Sequence[Case], kind: str, source: str, target: str) -> list[Case]:
    """The facts whose answers differ, and stand in both languages among the others' or in neither."""
    counts = [Counter(plain(case.edit.translations[code]) for case in facts) for code in (source, target)]
    chosen = []
    for case in facts:
        answers = [plain(case.edit.translations[code]) for code in (source, target)]
        often = [count[answer] > 1 for count, answer in zip(counts, answers, strict=True)]
        if answers[0] != answers[1] and often == [kind == KINDS[0]] * 2:
            chosen.append(case)
    return chosen


def scores(
    backbone: Backbone, taken: Sequence[Case], rest: Sequence[Case], target: str, lexicon: int
) -> Iterator[float]:
    """Mean F1 and EM of the facts that were taken out, asked in the other language, times 100."""
    editor = prepare(xkeb.load_editor("xmem", scope="all", lexicon=lexicon), backbone, rest)
    changes = make_changes(editor, backbone, [case.edit for case in taken])
    language = get_plugins().languages.get(target)
    pairs = []
    for case, change in zip(taken, changes, strict=True):
        reference = case.edit.translations[target]
        (answer,) = predict_edited(backbone, change, [Query(case.edit.questions[target], reference, target)])
        pairs.append((answer, backbone.encode_reference(reference)))
    for name in ("f1", "em"):
        metric = get_plugins().metrics.get(name)
        yield 100 * mean(metric(answer, gold, language) for answer, gold in pairs)


@click.command(cls=Telling)
@click.option("--data-dir", type=Path)
@click.option("--task", "task_name", default="bizsre_en2zh", show_default=True)
@click.option("--model", default="gemma3-270m", show_default=True)
@click.option("--limit", default=100, show_default=True, help="Facts of each kind.")
@click.option("--lexicon", default="0,16", show_default=True, help="Values of xmem.lexicon.")
def main(data_dir: Path | None, task_name: str, model: str, limit: int, lexicon: str) -> None:
    task = xkeb.load_task(task_name, data_dir=data_dir)
    source, target = task.pair.source, task.pair.targets[0]
    backbone = xkeb.load_backbone(model)
    facts = task.parallel_training.cases
    click.echo(f"| answer | facts | {' | '.join(f'lexicon={size}' for size in lexicon.split(','))} |")
    click.echo("|" + "---|" * (2 + len(lexicon.split(","))))
    for kind in KINDS:
        taken = random.Random(1).sample(of_kind(facts, kind, source, target), limit)
        ids = {case.id for case in taken}
        rest = [case for case in facts if case.id not in ids]
        cells = [
            " / ".join(f"{score:.1f}" for score in scores(backbone, taken, rest, target, int(size)))
            for size in lexicon.split(",")
        ]
        click.echo(f"| {kind} | {limit} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
