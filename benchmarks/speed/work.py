"""The least work one case needs, the work that is done here, and the work that EasyEdit's code does: floating-point operations.

Counted, not timed: every matrix product and attention of a case (its edit, and all its probes before and after), on the same
record and settings as `vs_easyeditor.py`. The least is arithmetic: for each method the tokens that a pass can't do without,
times the weights they meet, twice for a multiplication and an addition. It leaves out attention scores, and grants every cache
and every cut that causality allows.

    python benchmarks/speed/work.py --data-dir DIR [--model M] [--methods M,M] [--limit N]
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from vs_easyeditor import Setting

from xkeb.cli.telling import Telling
from xkeb.editing.changes import Change, ContextChange
from xkeb.editing.editor import Editor, known
from xkeb.estimation.meter import Meter
from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.ft import FineTuning
from xkeb_plugins.methods.kn import KnowledgeNeurons
from xkeb_plugins.methods.memit import Memit
from xkeb_plugins.methods.rome import Rome

sys.path.append(str(Path(__file__).parents[1]))

from easyeditor_pairs import PREFIXES

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Weights:
    """Multiplications of one token."""

    layers: int
    layer: int
    """In all products of one decoder layer."""
    keys_and_values: int
    """In those two projections of it."""
    down: int
    head: int

    @classmethod
    def of(cls, backbone: Backbone) -> Weights:
        def sizes(*names: str) -> int:
            parts = backbone.module(backbone.layout.layer(0)).named_modules()
            linear = {name: part for name, part in parts if isinstance(part, torch.nn.Linear)}
            return sum(part.weight.numel() for name, part in linear.items() if name.endswith(names))

        down = backbone.parameter(f"{backbone.layout.down(0)}.weight").numel()
        head = backbone.parameter(f"{backbone.layout.head}.weight").numel()
        return cls(backbone.n_layers, sizes(""), sizes("k_proj", "v_proj"), down, head)


class Least:
    """Multiplications that one case can't do without."""

    def __init__(self, backbone: Backbone, editor: Editor, case: Case, change: Change, losses: int) -> None:
        """
        Args:
            losses: how often the loss was looked at; each but the last with a gradient.
        """
        self.backbone, self.editor, self.case, self.change = backbone, editor, case, change
        self.w = Weights.of(backbone)
        self.passes = 2 * losses - 1  # forwards and backwards

    def probes(self, context: str = "") -> int:
        """Every question once, the head at answer positions; what all begin with once."""
        total = 0
        shared = len(self.backbone.encode(context).ids) - 1 if context else 0
        for probe in self.case.probes:
            encoded = self.backbone.encode(context + probe.prompt, probe.reference, probe.language)
            total += (len(encoded.ids) - 1 - shared) * self.trunk + len(encoded.target_ids) * self.w.head
        return total + shared * self.trunk

    @property
    def trunk(self) -> int:
        return self.w.layers * self.w.layer

    def texts(self) -> list[tuple[int, int, int]]:
        """(tokens without the last of the answer, from the subject's last on, of the answer) of each prefix."""
        edit, found = self.case.edit, []
        for prefix in ("", *PREFIXES):
            encoded = self.backbone.encode(prefix + edit.prompt, edit.target, edit.language)
            site = self.backbone.subject_last(edit, prefix)
            found.append((len(encoded.ids) - 1, len(encoded.ids) - 1 - site, len(encoded.continuation_ids)))
        return found

    def value(self, layer: int) -> int:
        """The search for a value: one pass over all texts, then the layers above from the subject on."""
        w, texts = self.w, self.texts()
        once = sum(whole for whole, _, _ in texts) * self.trunk
        above = sum(tail for _, tail, _ in texts) + 1  # one more for what must not drift
        head = sum(answer for _, _, answer in texts) + 1
        # In the last layer only what is looked at goes further than keys and values.
        layers = above * (w.layers - layer - 2) * w.layer + above * w.keys_and_values
        last = head * (w.layer - w.keys_and_values)
        return once + self.passes * (layers + last + head * w.head)

    def rome(self, editor: Rome) -> int:
        return self.value(known(editor.layer))

    def memit(self, editor: Memit) -> int:
        """The value, and the keys of each layer under the updates of those below."""
        layers = known(editor.layers)
        tokens = sum(whole - tail + 1 for whole, tail, _ in self.texts())
        again = tokens * (layers[-1] - layers[0] + 1) * self.w.layer * (len(layers) - 1)
        return self.value(layers[-1]) + again

    def ft(self, editor: FineTuning) -> int:
        """The layers below once, then those above for the whole prompt, the last one for its last token."""
        w, edit = self.w, self.case.edit
        tokens = self.backbone.encode(edit.prompt, edit.target, edit.language).prompt_end
        upper = w.layers - known(editor.layer) - 2
        one = tokens * (upper * w.layer + w.keys_and_values + w.down) + w.layer - w.keys_and_values + w.head
        return tokens * (w.layers - upper) * w.layer + self.passes * one

    def kn(self, editor: KnowledgeNeurons) -> int:
        """What the model answers, token by token; then of each token's position the layers above each layer."""
        w, edit = self.w, self.case.edit
        encoded = self.backbone.encode(edit.prompt, edit.target, edit.language)
        answer = len(encoded.continuation_ids)
        said = (encoded.prompt_end + answer - 1) * self.trunk + answer * w.head
        above = w.layers * (w.layers - 1) // 2 * w.layer + w.layers * (w.down + w.head)
        return said + 2 * answer * editor.steps * above

    def edit(self) -> int:
        """Of the edit itself; a context is there without a pass of the model."""
        match self.editor:
            case Rome():
                return self.rome(self.editor)
            case Memit():
                return self.memit(self.editor)
            case FineTuning():
                return self.ft(self.editor)
            case KnowledgeNeurons():
                return self.kn(self.editor)
        return 0

    def whole(self) -> int:
        context = self.change.context(self.case.edit.language) if isinstance(self.change, ContextChange) else ""
        return 2 * (self.edit() + self.probes() + self.probes(context))


def looks(optimiser_steps: int, most: int) -> int:
    """How often the loss was looked at: once more than there were steps, where it stopped by itself."""
    return min(optimiser_steps + 1, most)


def counted(work: Callable[[], T]) -> tuple[float, int, T]:
    """Operations of a piece of work, the steps of an optimiser in it, and what it gave."""
    steps: list[object] = []

    def count(optimiser: torch.optim.Optimizer, *_: object) -> None:
        steps.append(optimiser)

    handle = register_optimizer_step_post_hook(count)
    try:
        with Meter() as meter:
            given = work()
    finally:
        handle.remove()
    return meter.work.flops, len(steps), given


@click.command(cls=Telling)
@click.option("--data-dir", type=Path)
@click.option("--model", default="smollm2-135m", show_default=True)
@click.option("--task", default="bizsre_en2zh", show_default=True)
@click.option("--methods", default="ft,rome,ike,kn,memit", show_default=True)
@click.option("--limit", default=2, show_default=True, help="Records.")
@click.option("--train-size", default=500, show_default=True, help="Training facts for demonstrations and statistics.")
def main(methods: str, **options: Any) -> None:
    setting = Setting(batch=1, device="cpu", dtype="float32", **options)
    click.echo("method     least      here     there   here/least  there/here   (GFLOP a case)")
    for method in methods.split(","):
        ours, its, cases = setting.sides(method)
        ours.run(cases[:1])  # what is made once for a model is no part of a case
        rows: list[Sequence[float]] = []
        for case in cases:
            here, steps, (changes, _) = counted(functools.partial(ours.run, [case]))
            there, _, _ = counted(functools.partial(its.run, case))
            most: int = getattr(ours.editor, "steps", 0)
            needed = Least(ours.backbone, ours.editor, case, changes[0], looks(steps, most))
            rows.append((float(needed.whole()), here, there))
        least, here, there = (statistics.mean(column) / 1e9 for column in zip(*rows, strict=True))
        click.echo(f"{method:6} {least:9.1f} {here:9.1f} {there:9.1f}   {here / least:10.2f}  {there / here:10.2f}")


if __name__ == "__main__":
    main()
