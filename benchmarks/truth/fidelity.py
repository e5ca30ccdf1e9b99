"""How far our methods are from EasyEdit's own code, on real records: same tokens, hyper-parameters, prefixes and statistics.

For ROME, MEMIT and FT the relative Frobenius error of the change of weights (for FT after every step), for KN the sets of
neurons, for IKE the demonstrations and their order. ``--tokens easyeditor`` leaves its code the tokens that it makes itself,
and gives a line for each record. What to make of the numbers: docs/fidelity.md.

    pip install --no-deps easyeditor==0.0.1.dev0 einops
    python benchmarks/truth/fidelity.py --data-dir DIR [--model M] [--methods M,M] [--limit N] [--tokens easyeditor]
    python benchmarks/truth/fidelity.py --data-dir DIR --easyeditor CHECKOUT --methods alphaedit,emmet,grace,..
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

import xkeb
from xkeb.cli.telling import Telling
from xkeb.editing.changes import Change, ContextChange, WeightChange
from xkeb.editing.editor import Editor, make_changes, supported_cases
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.types import Case, Edit, Probe
from xkeb_plugins.methods.easyeditor.bridge import Bridge
from xkeb_plugins.methods.easyeditor.grace import GraceAdapterChange
from xkeb_plugins.methods.easyeditor.wise import WiseAdapterChange
from xkeb_plugins.methods.grace.change import CodebookChange
from xkeb_plugins.methods.wise.change import SideMemoryChange

sys.path.append(str(Path(__file__).parents[1]))

from easyeditor_newer import NEWER, NewerPair
from easyeditor_pairs import NEAREST, PAIRS, PREFIXES, EditorPair, Options
from own_tokens import describe


@dataclass(frozen=True)
class Pair:
    """One edit by both."""

    ours: Change
    its: Change
    our_steps: Sequence[torch.Tensor] = ()
    its_steps: Sequence[torch.Tensor] = ()
    """What was added to the weights after each step of an optimiser that works on them."""


def compare(
    comparison: Comparison,
    pair: EditorPair,
    backbone: Backbone,
    cases: Sequence[Case],
    training: Sequence[Case],
    options: Options,
    *,
    each: bool,
) -> Iterator[str]:
    """The lines of a report.

    Args:
        each: a line for each record as well, as soon as it is edited.
    """
    ours, its = pair.prepared(backbone, backbone, training, options)
    edits = [case.edit for case in supported_cases(its, backbone, cases)]
    pairs: list[Pair] = []
    its_seconds: list[float] = []
    with Steps() as ours_seen:
        started = time.perf_counter()
        changes = make_changes(ours, backbone, edits)
        our_seconds = (time.perf_counter() - started) / len(edits)
    for i, edit in enumerate(edits):
        with Steps() as its_seen, corrected(pair, its, backbone, edit):
            started = time.perf_counter()
            (change,) = make_changes(its, backbone, [edit])
            its_seconds.append(time.perf_counter() - started)
        our_steps: list[torch.Tensor] = []
        its_steps: list[torch.Tensor] = []
        if comparison is every_step:
            before = backbone.parameter(next(iter(deltas(change))))
            our_steps = [step[i] for step in ours_seen.seen]
            its_steps = [step[0] - before for step in its_seen.seen]
        pairs.append(Pair(changes[i], change, our_steps, its_steps))
        if each:
            prefixes = () if comparison is every_step else ("", *PREFIXES)
            yield f"{error(pairs[-1]):.1e}, {describe(backbone, edit, prefixes)}"
    seconds = f"{our_seconds:.2f} s an edit here, {statistics.mean(its_seconds):.2f} s there"
    refused = f", {len(cases) - len(edits)} refused" if len(edits) < len(cases) else ""
    yield f"{len(edits)} edits{refused}; {seconds}"
    yield from comparison(pairs)


def corrected(pair: EditorPair, its: Editor, backbone: Backbone, edit: Edit) -> AbstractContextManager[None]:
    """What its code is corrected by while it makes an edit."""
    if not isinstance(pair, NewerPair) or pair.correction is None:
        return nullcontext()
    assert isinstance(its, Bridge)
    return pair.correction(its, backbone, edit)


class Steps:
    """What an optimiser works on, after each of its steps."""

    def __enter__(self) -> Steps:
        self.seen: list[list[torch.Tensor]] = []
        self.handle = register_optimizer_step_post_hook(self._keep)
        return self

    def _keep(self, optimiser: Optimizer, *_: object) -> None:
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


def deltas(change: Change) -> dict[str, torch.Tensor]:
    """What a change adds to the weights, by parameter name."""
    assert isinstance(change, WeightChange)
    return change.deltas()


def error(pair: Pair) -> float:
    ours, its = deltas(pair.ours), deltas(pair.its)
    assert ours.keys() == its.keys()
    return relative([ours[name] for name in its], list(its.values()))


def codebooks(pairs: Sequence[Pair]) -> list[str]:
    """Keys and trained values of GRACE."""
    keys, values = [], []
    for pair in pairs:
        assert isinstance(pair.ours, CodebookChange) and isinstance(pair.its, GraceAdapterChange)
        keys.append(relative([pair.ours.codebook.keys], [pair.its.keys]))
        values.append(relative([pair.ours.codebook.values], [pair.its.values]))
    return [f"relative error of the keys: {spread(keys)}; of the values: {spread(values)}"]


def side_memories(pairs: Sequence[Pair]) -> list[str]:
    """W' - W of WISE, on a model whose matrices are not transposed."""
    errors = []
    for pair in pairs:
        assert isinstance(pair.ours, SideMemoryChange) and isinstance(pair.its, WiseAdapterChange)
        (memory,) = pair.ours.memories
        errors.append(relative([memory.delta], [pair.its.delta]))
    return [f"relative error of the side memory: {spread(errors)}"]


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

    def found(change: Change) -> set[tuple[str, int]]:
        return {
            (name, column)
            for name, delta in deltas(change).items()
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
        ours, its = (shown(change).split("\n\n") for change in (pair.ours, pair.its))
        same += ours[:-1] == list(dict.fromkeys(its[:-2]))[:NEAREST]
        literally += ours[:-1] == its[:NEAREST]
    return [
        f"same demonstrations in the same order: {same} of {len(pairs)}; "
        f"with those that it repeats: {literally} of {len(pairs)}"
    ]


def shown(change: Change) -> str:
    """The text that an edit puts before every question."""
    assert isinstance(change, ContextChange)
    return change.context("")


Comparison = Callable[[Sequence[Pair]], list[str]]
COMPARISONS: dict[str, Comparison] = {
    "ft": every_step,
    "rome": weights,
    "rome-covariance": weights,
    "memit": weights,
    "kn": neurons,
    "kn-default": neurons,
    "ike": demonstrations,
    **dict.fromkeys(NEWER, weights),
    "grace": codebooks,
    "wise": side_memories,
    "wise-corrected": side_memories,
}
"""How each of the `PAIRS` and of the `NEWER` ones is compared."""

STEPLESS = ("ike", "ultraedit", "ultraedit-answers", "ultraedit-corrected", "kn", "kn-default")
"""Those without an option `steps`, or where it means something else."""

# Records -------------------------------------------------------------------------------------------------------------


def with_space(case: Case) -> Case:
    """The case in a language that puts a space between a question and its answer, as EasyEdit's IKE does in any."""
    language = get_plugins().languages.get(case.edit.language)
    if language.separator == " ":
        return case
    code = f"{language.code}-spaced"
    if code not in get_plugins().languages:
        spaced_language = dataclasses.replace(language, code=code, separator=" ")
        get_plugins().languages.register(__name__, code, spaced_language)

    edit: Edit = dataclasses.replace(case.edit, language=code)
    probes: list[Probe] = [dataclasses.replace(probe, language=code) for probe in case.probes]
    return Case(case.id, edit, tuple(probes))


@click.command(cls=Telling)
@click.option("--data-dir", type=Path)
@click.option("--model", default="smollm2-135m", show_default=True)
@click.option("--tasks", default="bizsre_en2zh,bizsre_zh2en", show_default=True)
@click.option("--methods", default="ft,rome,memit,kn,ike", show_default=True, help=f"Of {', '.join(COMPARISONS)}.")
@click.option("--limit", default=5, show_default=True, help="Records of each language.")
@click.option("--records", help="In the place of the first ones: their numbers from 1 on, with commas.")
@click.option(
    "--tokens",
    type=click.Choice(["easyeditor", "xkeb"]),
    help="That its code works on, with FT, ROME and MEMIT.  [default: xkeb]",
)
@click.option("--easyeditor", type=Path, help="A checkout of EasyEdit, in the place of the package of 2023.")
@click.option("--spaced", is_flag=True, help="A space before answers in any language, as in its code.")
@click.option("--steps", type=int, help="Of methods that take steps, for a quick look.  [default: theirs]")
@click.option("--train-size", default=2000, show_default=True, help="Training facts for statistics and demonstrations.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
def main(
    data_dir: Path | None,
    model: str,
    tasks: str,
    methods: str,
    limit: int,
    records: str | None,
    tokens: str | None,
    easyeditor: Path | None,
    spaced: bool,
    steps: int | None,
    train_size: int,
    device: str,
    dtype: str,
) -> None:
    backbone = xkeb.load_backbone(model, device=device, dtype="float32")
    backbone.model.to(getattr(torch, dtype))
    original = {name: parameter.clone() for name, parameter in backbone.model.named_parameters()}
    for method in methods.split(","):
        comparison, pair = COMPARISONS[method], {**PAIRS, **NEWER}[method]
        if easyeditor is not None:
            pair = pair.from_checkout(str(easyeditor))
        stepping = comparison in (weights, every_step)
        if tokens is not None and stepping:
            pair = pair.on_tokens(tokens)
        stepwise = steps is not None and method not in STEPLESS
        options: dict[str, Any] = {"steps": steps} if stepwise else {}
        for name in tasks.split(","):
            task = xkeb.load_task(name, data_dir=data_dir)
            every, training = list(task), list(task.training.cases)[:train_size]
            cases = [every[int(number) - 1] for number in records.split(",")] if records else every[:limit]
            if spaced or comparison is demonstrations:
                cases, training = [list(map(with_space, some)) for some in (cases, training)]
            click.echo(f"{method}, {task.pair.source} ({model}, {dtype})")
            each = tokens is not None and stepping
            for line in compare(comparison, pair, backbone, cases, training, options, each=each):
                click.echo(f"  {line}")
    exact = all(torch.equal(original[name], parameter) for name, parameter in backbone.model.named_parameters())
    click.echo(f"every parameter equals the original to the bit: {exact}")


if __name__ == "__main__":
    main()
