"""Whether every fast way gives the predicted tokens of the slow one, on real records.

For each method and direction: many edits at once against one at a time, row by row against applied alone, and one
teacher-forced pass against growing gold prefixes. A token that differs is printed with its margin: the gap between the two
highest logits, computed alone.

    python benchmarks/truth/identical.py --data-dir DIR --limit 50 [--model M] [--methods M,M] [--batch-size N]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import torch
from agreement import encode_query

import xkeb
from xkeb.cli.telling import Telling
from xkeb.editing.changes import Change
from xkeb.editing.editor import make_changes, prepare
from xkeb.evaluation.batches import chunks
from xkeb.evaluation.job import training_facts
from xkeb.evaluation.probing import case_queries, predict_after, predict_edited
from xkeb.models.backbone import Backbone
from xkeb.models.prediction import predict
from xkeb.types import Prediction, Query


@torch.inference_mode()
def growing(backbone: Backbone, query: Query) -> tuple[int, ...]:
    """The argmax after each growing prefix of the ids, one whole pass of the model a prefix."""
    encoded = backbone.encode(query.prompt, query.target, query.language)
    found = []
    for i in range(encoded.target, len(encoded.ids)):
        ids = torch.tensor([encoded.ids[:i]], device=backbone.device)
        found.append(int(backbone.model(ids, logits_to_keep=1).logits[0, -1].argmax()))
    return tuple(found)


@torch.inference_mode()
def margin(backbone: Backbone, change: Change, query: Query, position: int) -> float:
    """Gap between the two highest logits at an answer position, under the change alone."""
    with change.applied(backbone):
        encoded = encode_query(backbone, query)
        ids = torch.tensor([encoded.ids[: encoded.target + position]], device=backbone.device)
        top = backbone.model(ids, logits_to_keep=1).logits[0, -1].float().topk(2).values
    return float(top[0] - top[1])


class Count:
    """Compares predictions and reports what differs."""

    def __init__(self, what: str) -> None:
        self.what, self.probes, self.tokens = what, 0, 0
        self.margins: list[float] = []

    def compare(
        self,
        backbone: Backbone,
        change: Change,
        asked: Sequence[Query],
        one: Sequence[Prediction],
        other: Sequence[Prediction],
    ) -> None:
        for query, a, b in zip(asked, one, other, strict=True):
            self.probes += 1
            self.tokens += len(a.ids)
            for position, (x, y) in enumerate(zip(a.ids, b.ids, strict=True)):
                if x != y:
                    self.margins.append(margin(backbone, change, query, position))

    def report(self) -> None:
        differ = f"{len(self.margins)} differ"
        if self.margins:
            differ += f" (largest margin {max(self.margins):.2e})"
        click.echo(f"  {self.what}: {self.tokens} tokens of {self.probes} probes, {differ}")


@click.command(cls=Telling)
@click.option("--model", default="gemma3-270m", show_default=True)
@click.option("--tasks", default="bizsre_en2zh,bizsre_zh2en", show_default=True)
@click.option("--methods", default="ft,rome,ike,ike-published", show_default=True)
@click.option("--limit", default=50, show_default=True)
@click.option("--batch-size", default=8, show_default=True)
@click.option("--one-by-one", default=10, show_default=True, help="Records that are edited one at a time as well.")
@click.option("--data-dir", type=Path)
def main(
    model: str, tasks: str, methods: str, limit: int, batch_size: int, one_by_one: int, data_dir: Path | None
) -> None:
    backbone = xkeb.load_backbone(model, device="cpu")
    original = {name: parameter.clone() for name, parameter in backbone.model.named_parameters()}
    for name in tasks.split(","):
        task = xkeb.load_task(name, data_dir=data_dir)
        cases = list(task)[:limit]
        every = [query for case in cases for query in case_queries(case)]
        one_pass = predict(backbone, every)
        same = sum(growing(backbone, query) == answer.ids for query, answer in zip(every, one_pass, strict=True))
        click.echo(f"{name}: one pass equals growing prefixes on {same} of {len(every)} probes (untouched model)")
        for method in methods.split(","):
            editor = xkeb.load_editor(method)
            editor = prepare(editor, backbone, training_facts(method, editor, task.training))
            rows, batch = Count("row by row against alone"), Count(f"batch {batch_size} against batch 1")
            for some in chunks(cases, batch_size):
                changes = make_changes(editor, backbone, [case.edit for case in some])
                together = predict_after(backbone, changes, some)
                for case, change, answers in zip(some, changes, together, strict=True):
                    asked = case_queries(case)
                    rows.compare(backbone, change, asked, answers, predict_edited(backbone, change, asked))
                    if batch.probes >= one_by_one * len(asked):
                        continue
                    (single,) = make_changes(editor, backbone, [case.edit])
                    batch.compare(backbone, single, asked, answers, predict_after(backbone, [single], [case])[0])
            click.echo(f"{name} {method}")
            rows.report()
            batch.report()
    exact = all(torch.equal(original[name], parameter) for name, parameter in backbone.model.named_parameters())
    click.echo(f"every parameter equals the original to the bit: {exact}")


if __name__ == "__main__":
    main()
