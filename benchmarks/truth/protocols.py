"""One edit, asked under both protocols, and under the paper's with each of its rules alone set to ours.

Every case is edited once, so that what differs between two rows is the protocol and nothing else. Of each property and
language: F1 as the row's protocol has it (the product of precision and recall under the paper's) and EM, times 100.

    OMP_NUM_THREADS=1 python benchmarks/truth/protocols.py --data-dir DIR [--methods ft,rome] [--limit 100] [--task T]
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import xkeb
from xkeb.editing.editor import Editor, make_changes, prepare, supported_cases
from xkeb.evaluation.batches import chunks
from xkeb.evaluation.probing import predict_after, predict_before, predict_reference_state
from xkeb.evaluation.protocols import Protocol, load_protocol
from xkeb.evaluation.scoring import score_case
from xkeb.models.backbone import Backbone
from xkeb.results.schema import HEADLINES, CaseRecord
from xkeb.types import PROPERTIES, Case

RULES: Mapping[str, Any] = {
    "max_length": 0,
    "texts": "whole",
    "joiner": "language",
    "bos": "dropped",
    "bags": "without_space",
    "case": "kept",
    "questions": "read",
    "reliability": "english",
}
"""Each to be set alone: ours, or the other target of reliability."""


def variants(editor: Editor) -> dict[str, Protocol]:
    found = {"teacher_forcing": load_protocol("teacher_forcing", {}), "paper": load_protocol("paper", {})}
    found |= {f"paper, {name}={value}": load_protocol("paper", {name: value}) for name, value in RULES.items()}
    return {name: protocol.for_editor(editor) for name, protocol in found.items()}


def ask(backbone: Backbone, editor: Editor, cases: Sequence[Case], batch: int) -> dict[str, list[CaseRecord]]:
    """The scored cases of each variant."""
    records: dict[str, list[CaseRecord]] = defaultdict(list)
    for some in chunks(cases, batch):
        changes = make_changes(editor, backbone, [case.edit for case in some])
        for name, protocol in variants(editor).items():
            before = predict_before(backbone, some, protocol)
            after = predict_after(backbone, changes, some, protocol)
            compared = predict_reference_state(backbone, changes, some, protocol)
            for case, old, new, others in zip(some, before, after, compared, strict=True):
                known = [others.get(i, answer) for i, answer in enumerate(old)]
                seconds = {"edit": 0.0, "evaluate": 0.0}
                records[name].append(
                    score_case(case, known, new, backbone, ("f1", "f1_pr", "em"), seconds, "", protocol)
                )
    return records


def row(records: Sequence[CaseRecord], headline: str, languages: Sequence[str]) -> str:
    values: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for record in records:
        for probe in record.probes:
            if probe.blank:
                continue
            language = "" if probe.property == "reliability" else probe.language
            values[probe.property, language].append((probe.scores[headline], probe.scores["em"]))
    cells = [("reliability", ""), *((name, code) for code in languages for name in PROPERTIES if name != "reliability")]
    means = [[100 * statistics.fmean(column) for column in zip(*values[cell], strict=True)] for cell in cells]
    return " | ".join(f"{one:.1f} / {other:.1f}" for one, other in means)


@click.command()
@click.option("--data-dir", type=Path)
@click.option("--model", default="gemma3-270m", show_default=True)
@click.option("--task", default="bizsre_en2zh", show_default=True)
@click.option("--methods", default="ft,kn,rome,memit,ike,ike-published", show_default=True)
@click.option("--limit", default=100, show_default=True, help="Records.")
@click.option("--batch", default=8, show_default=True, help="Cases that are edited at a time.")
def main(data_dir: Path | None, model: str, task: str, methods: str, limit: int, batch: int) -> None:
    data = xkeb.load_task(task, data_dir=data_dir)
    backbone = xkeb.load_backbone(model, device="cpu")
    languages = sorted(data.pair.languages)
    columns = ["method", "protocol", "reliability"]
    columns += [f"{code}: {name}" for code in languages for name in PROPERTIES if name != "reliability"]
    click.echo(f"{model}, {task}, the first {limit} records\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for method in methods.split(","):
        editor = prepare(xkeb.load_editor(method), backbone, data.training.cases)
        cases = supported_cases(editor, backbone, list(data)[:limit])
        for name, records in ask(backbone, editor, cases, batch).items():
            headline, _ = HEADLINES[name.partition(",")[0]]
            click.echo(f"| {method} | {name} | {row(records, headline, languages)} |")


if __name__ == "__main__":
    main()
