"""How far our methods are from EasyEdit's own code, on real records: same tokens, hyper-parameters, prefixes and statistics.

For ROME, MEMIT and FT the relative Frobenius error of the change of weights (for FT after every step), for KN the sets of
neurons, for IKE the demonstrations and their order. What to make of the numbers: docs/fidelity.md.

    pip install --no-deps easyeditor==0.0.1.dev0 einops
    python benchmarks/fidelity.py --data-dir DIR [--model M] [--methods M,M] [--limit N]
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

import xkeb
from xkeb.editing.editor import prepare, supported_cases
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.types import Case, Edit

PREFIXES = (
    "The city lies on a river. ",
    "Therefore it was closed. ",
    "Because of the rain. ",
    "I have never been there. ",
    "You can see it from here. ",
    "The first edition was printed in a small town near the coast. ",
    "Therefore the council decided to build another bridge over the river. ",
    "Because nobody had asked, the letter stayed in its drawer for years. ",
    "I think that the second book of the series is the best. ",
    "You will find the answer on the last page of the report. ",
)
"""Given to both sides by hand, so that nothing is sampled."""

END = "<|endoftext|>"
"""What EasyEdit's KN looks for where a request has no true answer."""

NEAREST = 16


@dataclass(frozen=True)
class Comparison:
    """A method here, the bridge to EasyEdit's, and how they are compared."""

    method: str
    compare: Callable[[Sequence[Pair]], list[str]]
    both: dict[str, Any] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)
    its: dict[str, Any] = field(default_factory=dict)

    def editors(self, here: Backbone, there: Backbone, training: Sequence[Case], **options: Any) -> tuple[Any, Any]:
        """Ours and EasyEdit's, with whatever they have to learn learnt; `options` go to both."""
        ours = xkeb.load_editor(self.method, **self.both | self.ours | options)
        its = xkeb.load_editor(f"easyeditor-{self.method}", **self.both | self.its | options)
        return prepare(ours, here, training), prepare(its, there, training)


@dataclass(frozen=True)
class Pair:
    """One edit by both."""

    ours: Any
    its: Any
    our_steps: Sequence[torch.Tensor] = ()
    its_steps: Sequence[torch.Tensor] = ()
    """What was added to the weights after each step of an optimiser that works on them."""


def compare(backbone: Backbone, comparison: Comparison, cases: Sequence[Case], training: Sequence[Case]) -> list[str]:
    """The lines of a report."""
    ours, its = comparison.editors(backbone, backbone, training)
    edits = [case.edit for case in supported_cases(its, backbone, cases)]
    pairs, our_seconds, its_seconds = [], 0.0, []
    with Steps() as ours_seen:
        started = time.perf_counter()
        changes = ours.edit(backbone, edits)
        our_seconds = (time.perf_counter() - started) / len(edits)
    for i, edit in enumerate(edits):
        with Steps() as its_seen:
            started = time.perf_counter()
            (change,) = its.edit(backbone, [edit])
            its_seconds.append(time.perf_counter() - started)
        our_steps, its_steps = [], []
        if comparison.compare is every_step:
            before = backbone.parameter(next(iter(change.deltas())))
            our_steps = [step[i] for step in ours_seen.seen]
            its_steps = [step[0] - before for step in its_seen.seen]
        pairs.append(Pair(changes[i], change, our_steps, its_steps))
    seconds = f"{our_seconds:.2f} s an edit here, {statistics.mean(its_seconds):.2f} s there"
    refused = f", {len(cases) - len(edits)} refused" if len(edits) < len(cases) else ""
    return [f"{len(edits)} edits{refused}; {seconds}", *comparison.compare(pairs)]


class Steps:
    """What an optimiser works on, after each of its steps."""

    def __enter__(self) -> Steps:
        self.seen: list[list[torch.Tensor]] = []
        self.handle = register_optimizer_step_post_hook(self._keep)
        return self

    def _keep(self, optimiser: Any, *_: Any) -> None:
        tensors = optimiser.param_groups[0]["params"]
        if all(tensor.ndim == 2 for tensor in tensors):
            self.seen.append([tensor.detach().clone() for tensor in tensors])

    def __exit__(self, *_: object) -> None:
        self.handle.remove()


# Comparisons ---------------------------------------------------------------------------------------------------------


def relative(ours: Sequence[torch.Tensor], its: Sequence[torch.Tensor]) -> float:
    """Frobenius norm of the difference, in norms of its."""
    difference = torch.stack([(a - b).norm() for a, b in zip(ours, its, strict=True)]).norm()
    return float(difference / torch.stack([b.norm() for b in its]).norm())


def error(pair: Pair) -> float:
    ours, its = pair.ours.deltas(), pair.its.deltas()
    assert ours.keys() == its.keys()
    return relative([ours[name] for name in its], list(its.values()))


def spread(errors: Sequence[float]) -> str:
    return f"max {max(errors):.1e}, median {statistics.median(errors):.1e}"


def weights(pairs: Sequence[Pair]) -> list[str]:
    return [f"relative error of the change: {spread([error(pair) for pair in pairs])}"]


def every_step(pairs: Sequence[Pair]) -> list[str]:
    lines = []
    for step in range(max(len(pair.its_steps) for pair in pairs)):
        going = [pair for pair in pairs if step < len(pair.its_steps)]
        errors = [relative([pair.our_steps[step]], [pair.its_steps[step]]) for pair in going]
        apart = [int(((p.our_steps[step] - p.its_steps[step]).abs() > APART).sum()) for p in going]
        total = going[0].its_steps[step].numel()
        lines.append(
            f"step {step + 1}: {spread(errors)}; at most {max(apart)} of {total} weights apart by more than {APART}"
        )
    return [*lines, *weights(pairs)]


APART = 5e-5
"""A tenth of FT's learning rate."""


def neurons(pairs: Sequence[Pair]) -> list[str]:
    """A neuron's column of the down-projection is what an edit writes to."""

    def found(change: Any) -> set[tuple[str, int]]:
        return {
            (name, column)
            for name, delta in change.deltas().items()
            for column in delta.any(0).nonzero().flatten().tolist()
        }

    sets = [(found(pair.ours), found(pair.its)) for pair in pairs]
    sizes = ", ".join(f"{len(ours)}/{len(its)}/{len(ours & its)}" for ours, its in sets)
    lines = [f"same neurons in {sum(ours == its for ours, its in sets)} of {len(sets)}; ours/its/shared: {sizes}"]
    shared = [pair for pair, (ours, its) in zip(pairs, sets, strict=True) if ours == its]
    return lines + (weights(shared) if shared else [])


def demonstrations(pairs: Sequence[Pair]) -> list[str]:
    """Its code shows the new fact as one more, and one that stands in the training set twice, twice. So it was asked for
    twice as many; the first of those that differ are compared, and the first of all."""
    same, literally = 0, 0
    for pair in pairs:
        ours, its = (change.context("").split("\n\n") for change in (pair.ours, pair.its))
        same += ours[:-1] == list(dict.fromkeys(its[:-2]))[:NEAREST]
        literally += ours[:-1] == its[:NEAREST]
    return [
        f"same demonstrations in the same order: {same} of {len(pairs)}; "
        f"with those that it repeats: {literally} of {len(pairs)}"
    ]


GIVEN = {"tokens": "xkeb"}
PREFIXED: dict[str, Any] = {"context_templates": PREFIXES, "mom2_corpus": "task"}
COMPARISONS = {
    "ft": Comparison("ft", every_step, its=GIVEN),
    "rome": Comparison("rome", weights, PREFIXED | {"mom2_adjustment": False}, its=GIVEN),
    "rome-covariance": Comparison("rome", weights, PREFIXED | {"mom2_adjustment": True}, its=GIVEN),
    "memit": Comparison("memit", weights, PREFIXED, its=GIVEN),
    "kn": Comparison("kn", neurons, {"answer": END}, ours={"joined": False}),
    "kn-default": Comparison("kn", neurons, its=GIVEN | {"answer": None}),
    "ike": Comparison("ike", demonstrations, ours={"k": NEAREST}, its={"k": 2 * NEAREST}),
}
"""``kn`` has EasyEdit's tokens and answer on both sides, ``kn-default`` ours."""

# Records -------------------------------------------------------------------------------------------------------------


def spaced(case: Case) -> Case:
    """The case in a language that puts a space between a question and its answer, as EasyEdit's IKE does in any."""
    language = get_plugins().languages.get(case.edit.language)
    if language.joiner == " ":
        return case
    code = f"{language.code}-spaced"
    get_plugins().languages.entries[code] = Entry(dataclasses.replace(language, code=code, joiner=" "), __name__)

    def renamed(thing: Any) -> Any:
        return dataclasses.replace(thing, language=code)

    edit: Edit = renamed(case.edit)
    return Case(case.id, edit, tuple(map(renamed, case.probes)))


@click.command()
@click.option("--data-dir", type=Path)
@click.option("--model", default="smollm2-135m", show_default=True)
@click.option("--tasks", default="bizsre_en2zh,bizsre_zh2en", show_default=True)
@click.option("--methods", default="ft,rome,memit,kn,ike", show_default=True, help=f"Of {', '.join(COMPARISONS)}.")
@click.option("--limit", default=5, show_default=True, help="Records of each language.")
@click.option("--steps", type=int, help="Of FT, ROME and MEMIT, for a quick look.  [default: theirs]")
@click.option("--train-size", default=2000, show_default=True, help="Training facts for statistics and demonstrations.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
def main(
    data_dir: Path | None,
    model: str,
    tasks: str,
    methods: str,
    limit: int,
    steps: int | None,
    train_size: int,
    device: str,
    dtype: str,
) -> None:
    backbone = xkeb.load_backbone(model, device=device, dtype="float32")
    backbone.model.to(getattr(torch, dtype))
    original = {name: parameter.clone() for name, parameter in backbone.model.named_parameters()}
    for method in methods.split(","):
        comparison = COMPARISONS[method]
        if steps is not None and comparison.compare in (weights, every_step):
            comparison = dataclasses.replace(comparison, both=comparison.both | {"steps": steps})
        for name in tasks.split(","):
            task = xkeb.load_task(name, data_dir=data_dir)
            cases, training = list(task)[:limit], list(task.training.cases)[:train_size]
            if comparison.compare is demonstrations:
                cases, training = [list(map(spaced, some)) for some in (cases, training)]
            click.echo(f"{method}, {task.pair.source} ({model}, {dtype})")
            for line in compare(backbone, comparison, cases, training):
                click.echo(f"  {line}")
    exact = all(torch.equal(original[name], parameter) for name, parameter in backbone.model.named_parameters())
    click.echo(f"every parameter equals the original to the bit: {exact}")


if __name__ == "__main__":
    main()
