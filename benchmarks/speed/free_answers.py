"""What free answers cost: beside teacher forcing, and beside `generate` of transformers, question by question under each edit.

All three ask the same questions of the same edited models, in turns; seconds are the processor's, medians over the rounds.
Their free answers must be the same tokens: how many differ is told. The suite asks many cases at once where changes can be
applied row by row; `generate` is called once a question, after the edit was applied to the model, as is usual.

    OMP_NUM_THREADS=1 python benchmarks/speed/free_answers.py [--data-dir DIR] [--methods M,..] [--limit N] [--rounds N]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from transformers import StoppingCriteria, StoppingCriteriaList

import xkeb
from xkeb.cli.telling import Telling
from xkeb.editing.changes import Change, batched
from xkeb.editing.editor import make_changes, prepare, supported_cases
from xkeb.evaluation.probing import case_queries, predict_after
from xkeb.evaluation.protocols import load_protocol
from xkeb.evaluation.protocols.sentences import is_past_first_line
from xkeb.models.backbone import Backbone
from xkeb.types import Case

FREE, FORCED = load_protocol("generate", {}), load_protocol("teacher_forcing", {})
MAX_TOKENS = 32
"""The protocol's own budget."""


class FirstLine(StoppingCriteria):
    """Ends an answer where the protocol does."""

    def __init__(self, backbone: Backbone, prompt: int) -> None:
        self.backbone, self.prompt = backbone, prompt

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        said = self.backbone.said(input_ids[0, self.prompt :].tolist())
        return torch.tensor([is_past_first_line(said)])


@torch.inference_mode()
def by_transformers(
    backbone: Backbone, changes: Sequence[Change], cases: Sequence[Case]
) -> list[list[tuple[int, ...]]]:
    """The ids of each answer, case by case."""
    answers: list[list[tuple[int, ...]]] = []
    generate: Any = backbone.model.generate
    for change, case in zip(changes, cases, strict=True):
        installed = batched(backbone, [change])
        with change.applied(backbone):
            answers.append([])
            for query in case_queries(case, 0, FREE):
                context = installed.context(0, query.language) if installed else ""
                ids = backbone.encode_question(query.prompt, query.language, context=context).ids
                said = generate(
                    input_ids=torch.tensor([ids]),
                    attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                    max_new_tokens=MAX_TOKENS,
                    do_sample=False,
                    eos_token_id=sorted(backbone.special_ids),
                    pad_token_id=backbone.pad_id,
                    stopping_criteria=StoppingCriteriaList([FirstLine(backbone, len(ids))]),
                )
                answers[-1].append(tuple(said[0, len(ids) :].tolist()))
    return answers


def ids_of(backbone: Backbone, changes: Sequence[Change], cases: Sequence[Case]) -> list[list[tuple[int, ...]]]:
    return [[answer.ids for answer in answers] for answers in predict_after(backbone, changes, cases, FREE)]


def seconds(act: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    done = act()
    return time.process_time() - start, done


@click.command(cls=Telling)
@click.option("--data-dir", type=Path)
@click.option("--model", default="gemma3-270m", show_default=True)
@click.option("--task", default="bizsre_en2zh", show_default=True)
@click.option("--methods", default="ft,rome,memit,ike", show_default=True)
@click.option(
    "--limit", default=16, show_default=True, help="Records, asked at once where the method's changes allow it."
)
@click.option("--rounds", default=3, show_default=True)
def main(data_dir: Path | None, model: str, task: str, methods: str, limit: int, rounds: int) -> None:
    data = xkeb.load_task(task, data_dir=data_dir)
    backbone = xkeb.load_backbone(model, device="cpu")
    click.echo(f"{model}, {task}, {limit} records, seconds of the processor a case\n")
    click.echo("| method | teacher forcing | free answers | transformers' generate | times as fast | other answers |")
    click.echo("|---|---|---|---|---|---|")
    for method in methods.split(","):
        editor = prepare(xkeb.load_editor(method), backbone, data.training.cases)
        cases = supported_cases(editor, backbone, list(data)[:limit])
        changes = make_changes(editor, backbone, [case.edit for case in cases])
        took: dict[str, list[float]] = {"forced": [], "free": [], "theirs": []}
        for _ in range(rounds):
            took["forced"].append(seconds(lambda: predict_after(backbone, changes, cases, FORCED))[0])  # noqa: B023
            spent, ours = seconds(lambda: ids_of(backbone, changes, cases))  # noqa: B023
            took["free"].append(spent)
            spent, theirs = seconds(lambda: by_transformers(backbone, changes, cases))  # noqa: B023
            took["theirs"].append(spent)
        pairs = [pair for a, b in zip(ours, theirs, strict=True) for pair in zip(a, b, strict=True)]
        forced, free, other = (statistics.median(times) / len(cases) for times in took.values())
        apart = sum(one != two for one, two in pairs)
        click.echo(
            f"| {method} | {forced:.2f} | {free:.2f} | {other:.2f} | {other / free:.1f} | {apart} of {len(pairs)} |"
        )


if __name__ == "__main__":
    main()
