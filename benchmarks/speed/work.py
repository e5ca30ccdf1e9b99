"""The least work one case needs, the work that is done here, and the work that EasyEdit's code does: floating-point operations.

Counted, not timed: every matrix product and attention of a case (its edit, and all its probes before and after), on the same
records and settings as `vs_easyeditor.py`, so many at a time as the suite takes. The least is arithmetic: for each method the
tokens that a pass can't do without, times the weights they meet and the tokens they look at, twice for a multiplication and an
addition. It grants every cache and every cut that causality allows, and no padding.

    python benchmarks/speed/work.py --data-dir DIR [--model M] [--methods M,M] [--limit N] [--batch N]
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from vs_easyeditor import Setting

from xkeb.cli.telling import Telling
from xkeb.editing.changes import Change, ContextChange
from xkeb.editing.editor import Editor, known, make_changes
from xkeb.estimation.meter import Meter
from xkeb.evaluation.batches import chunks
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
    attention: int
    """In one layer for each token that a token looks at: its score, and its share of the value."""

    @classmethod
    def of(cls, backbone: Backbone) -> Weights:
        def sizes(*names: str) -> int:
            parts = backbone.module(backbone.layout.layer(0)).named_modules()
            linear = {name: part for name, part in parts if isinstance(part, torch.nn.Linear)}
            return sum(part.weight.numel() for name, part in linear.items() if name.endswith(names))

        down = backbone.parameter(f"{backbone.layout.down(0)}.weight").numel()
        head = backbone.parameter(f"{backbone.layout.head}.weight").numel()
        # Of the output's projection: its inputs are all heads' values.
        attention = 2 * backbone.parameter(f"{backbone.layout.layer(0)}.self_attn.o_proj.weight").shape[1]
        return cls(backbone.n_layers, sizes(""), sizes("k_proj", "v_proj"), down, head, attention)

    def looking(self, tokens: int, before: int = 0) -> int:
        """Of one layer, where so many tokens each look at themselves and all before them, `before` others among these."""
        return self.attention * (tokens * before + tokens * (tokens + 1) // 2)


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
            total += self.passed(len(encoded.ids) - 1 - shared, shared) + len(encoded.target_ids) * self.w.head
        return total + self.passed(shared)

    def passed(self, tokens: int, before: int = 0) -> int:
        """Of so many tokens through all layers, `before` others kept as keys and values."""
        return tokens * self.trunk + self.w.layers * self.w.looking(tokens, before)

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
        once = sum(self.passed(whole) for whole, _, _ in texts)
        above = sum(tail for _, tail, _ in texts) + 1  # one more for what must not drift
        head = sum(answer for _, _, answer in texts) + 1
        # In the last layer only what is looked at goes further than keys and values.
        layers = above * (w.layers - layer - 2) * w.layer + above * w.keys_and_values
        layers += (w.layers - layer - 2) * sum(w.looking(tail, whole - tail) for whole, tail, _ in texts)
        last = head * (w.layer - w.keys_and_values)
        return once + self.passes * (layers + last + head * w.head)

    def rome(self, editor: Rome) -> int:
        return self.value(known(editor.layer))

    def memit(self, editor: Memit) -> int:
        """The value, and the keys of each layer under the updates of those below."""
        layers = known(editor.layers)
        tokens = sum(whole - tail + 1 for whole, tail, _ in self.texts())
        seen = sum(self.w.looking(whole - tail + 1) for whole, tail, _ in self.texts())
        again = (tokens * self.w.layer + seen) * (layers[-1] - layers[0] + 1) * (len(layers) - 1)
        return self.value(layers[-1]) + again

    def ft(self, editor: FineTuning) -> int:
        """The layers below once, then those above for the whole prompt, the last one for its last token."""
        w, edit = self.w, self.case.edit
        tokens = self.backbone.encode(edit.prompt, edit.target, edit.language).prompt_end
        upper = w.layers - known(editor.layer) - 2
        one = tokens * (upper * w.layer + w.keys_and_values + w.down) + w.layer - w.keys_and_values + w.head
        one += upper * w.looking(tokens) + w.looking(1, tokens - 1)
        below = w.layers - upper
        return below * (tokens * w.layer + w.looking(tokens)) + self.passes * one

    def kn(self, editor: KnowledgeNeurons) -> int:
        """What the model answers, token by token; then of each token's position the layers above each layer."""
        w, edit = self.w, self.case.edit
        encoded = self.backbone.encode(edit.prompt, edit.target, edit.language)
        answer = len(encoded.continuation_ids)
        said = self.passed(encoded.prompt_end + answer - 1) + answer * w.head
        above = w.layers * (w.layers - 1) // 2 * (w.layer + w.looking(1, encoded.prompt_end))
        above += w.layers * (w.down + w.head)
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


def counted(work: Callable[[], T]) -> tuple[float, T]:
    """Operations of a piece of work, and what it gave."""
    with Meter() as meter:
        given = work()
    return meter.work.flops, given


def steps_of(editor: Editor, backbone: Backbone, case: Case) -> int:
    """The steps of an optimiser in one edit; in a batch, some end before others."""
    steps: list[object] = []
    handle = register_optimizer_step_post_hook(lambda optimiser, *_: steps.append(optimiser))
    try:
        make_changes(editor, backbone, [case.edit])
    finally:
        handle.remove()
    return len(steps)


@click.command(cls=Telling)
@click.option("--data-dir", type=Path)
@click.option("--model", default="smollm2-135m", show_default=True)
@click.option("--task", default="bizsre_en2zh", show_default=True)
@click.option("--methods", default="ft,rome,ike,kn,memit", show_default=True)
@click.option("--limit", default=8, show_default=True, help="Records.")
@click.option("--batch", default=8, show_default=True, help="Cases that we take at a time.")
@click.option("--train-size", default=500, show_default=True, help="Training facts for demonstrations and statistics.")
def main(methods: str, **options: Any) -> None:
    setting = Setting(device="cpu", dtype="float32", **options)
    click.echo("method     least      here     there   here/least  there/here   (GFLOP a case)")
    for method in methods.split(","):
        ours, its, cases = setting.sides(method)
        ours.run(cases[:1])  # what is made once for a model is no part of a case
        most: int = getattr(ours.editor, "steps", 0)
        least = here = there = 0.0
        for some in chunks(cases, setting.batch):
            done, (changes, _) = counted(functools.partial(ours.run, some))
            here += done
            for case, change in zip(some, changes, strict=True):
                losses = looks(steps_of(ours.editor, ours.backbone, case), most)
                least += Least(ours.backbone, ours.editor, case, change, losses).whole()
                there += counted(functools.partial(its.run, case))[0]
        least, here, there = (total / 1e9 / len(cases) for total in (least, here, there))
        click.echo(f"{method:6} {least:9.1f} {here:9.1f} {there:9.1f}   {here / least:10.2f}  {there / here:10.2f}")


if __name__ == "__main__":
    main()
