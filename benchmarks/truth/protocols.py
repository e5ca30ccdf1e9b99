"""One edit, asked under both protocols, and under the paper's with each of its rules alone set to ours.

Every case is edited once, so that what differs between two rows is the protocol and nothing else; what two of them ask
alike is passed once. Of each property and language: F1 as the row's protocol has it (the product of precision and recall
under the paper's) and EM, times 100.

    OMP_NUM_THREADS=1 python benchmarks/truth/protocols.py --data-dir DIR [--methods ft,rome] [--limit 100] [--task T]
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import xkeb
from xkeb.cli.telling import Telling
from xkeb.editing.changes import Change, batched
from xkeb.editing.editor import Editor, make_changes, prepare, supported_cases
from xkeb.evaluation.batches import chunks
from xkeb.evaluation.probing import predict_after, predict_before, predict_reference_state
from xkeb.evaluation.protocols import Protocol, load_protocol
from xkeb.evaluation.scoring import score_case
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Intervention
from xkeb.models.passes import TokenRow
from xkeb.models.prediction import AnswerStyle
from xkeb.results.lines import CaseRecord
from xkeb.results.settings import HEADLINES
from xkeb.types import PROPERTIES, Case, Prediction, Probe, Query

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


Beginning = tuple[int, int, str, tuple[int, ...]]
"""Whose answer: the model, the change, the context and the ids so far."""


class RecallingStyle(AnswerStyle):
    """Another style, by which no beginning of a text is passed a second time: what comes next hangs on nothing else."""

    def __init__(self, style: AnswerStyle, known: dict[Beginning, int]) -> None:
        self.inner, self.known = style, known

    def ids(
        self, backbone: Backbone, rows: Sequence[TokenRow], intervention: Intervention | None, batch_size: int
    ) -> list[list[int]]:
        asked = [
            [(id(backbone), row.row, row.context, row.ids[: position + 1]) for position in row.positions]
            for row in rows
        ]
        runs: list[list[Beginning]] = []
        for one in sorted({one for own in asked for one in own}.difference(self.known)):
            last = runs[-1][-1] if runs else None
            if last is not None and one[:3] == last[:3] and one[3][: len(last[3])] == last[3]:
                runs[-1].append(one)
            else:
                runs.append([one])
        new = [TokenRow(run[-1][3], tuple(len(one[3]) - 1 for one in run), run[0][1], run[0][2]) for run in runs]
        for run, ids in zip(runs, self.inner.ids(backbone, new, intervention, batch_size), strict=True):
            self.known.update(zip(run, ids, strict=True))
        return [[self.known[one] for one in own] for own in asked]

    def rows(self, backbone: Backbone, query: Query, context: str) -> Sequence[TokenRow]:
        return self.inner.rows(backbone, query, context)

    def answer(self, backbone: Backbone, query: Query, predicted: Sequence[Sequence[int]]) -> Prediction:
        return self.inner.answer(backbone, query, predicted)


@dataclass(frozen=True)
class Recalling(Protocol):
    """Another protocol, asked in that style."""

    inner: Protocol
    known: dict[Beginning, int]
    """What the model says next in one state."""

    def query(self, case: Case, probe: Probe, row: int = 0) -> Query:
        return self.inner.query(case, probe, row)

    @property
    def style(self) -> AnswerStyle:
        return RecallingStyle(self.inner.style, self.known)

    def reference(self, backbone: Backbone, query: Query) -> Prediction:
        return self.inner.reference(backbone, query)


def ask(backbone: Backbone, editor: Editor, cases: Sequence[Case], batch: int) -> dict[str, list[CaseRecord]]:
    """The scored cases of each variant."""
    records: dict[str, list[CaseRecord]] = defaultdict(list)
    for some in chunks(cases, batch):
        changes = make_changes(editor, backbone, [case.edit for case in some])
        together = [(changes, some)]
        if batched(backbone, changes) is None:  # one at a time, so that a text is of one state of the model
            together = [([change], [case]) for change, case in zip(changes, some, strict=True)]
        for group, members in together:
            for name, found in ask_each(backbone, editor, group, members).items():
                records[name] += found
    return records


def ask_each(
    backbone: Backbone, editor: Editor, changes: Sequence[Change], cases: Sequence[Case]
) -> dict[str, list[CaseRecord]]:
    """The scored cases of each variant, under changes that are asked together."""
    records: dict[str, list[CaseRecord]] = defaultdict(list)
    states: tuple[dict[Beginning, int], ...] = ({}, {}, {})
    for name, protocol in variants(editor).items():
        first, second, third = (Recalling(protocol, known) for known in states)
        before = predict_before(backbone, cases, first)
        after = predict_after(backbone, changes, cases, second)
        compared = predict_reference_state(backbone, changes, cases, third)
        for case, old, new, others in zip(cases, before, after, compared, strict=True):
            known = [others.get(i, answer) for i, answer in enumerate(old)]
            seconds = {"edit": 0.0, "evaluate": 0.0}
            records[name].append(score_case(case, known, new, backbone, ("f1", "f1_pr", "em"), seconds, "", protocol))
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


@click.command(cls=Telling)
@click.option("--data-dir", type=Path)
@click.option("--model", default="gemma3-270m", show_default=True)
@click.option("--task", default="bizsre_en2zh", show_default=True)
@click.option("--methods", default="ft,kn,rome,memit,ike,ike-published", show_default=True)
@click.option("--limit", default=100, show_default=True, help="Records.")
@click.option("--batch", default=8, show_default=True, help="Cases that are edited at a time.")
@click.option("--device", default="cpu", show_default=True)
def main(data_dir: Path | None, model: str, task: str, methods: str, limit: int, batch: int, device: str) -> None:
    data = xkeb.load_task(task, data_dir=data_dir)
    backbone = xkeb.load_backbone(model, device=device, dtype="float32")
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
