"""A whole single-edit case, here and by EasyEdit's own code: seconds, memory, and whether the answers are the same.

Same model, same records, same hyper-parameters, same token ids, ten prefixes given by hand to ROME and MEMIT. A case is the
edit and all its probes before and after. Ours runs as the suite does, `--batch` cases at a time; its code runs one case after
the other, as it always does: its `execute_*`, then its `compute_edit_quality` (for IKE `compute_icl_edit_quality`) for every
probe, before and after. The two take turns, a batch at a time. Its model runs on PyTorch's own linear layers, ours on those of
`xkeb.models.onednn`; the weights are the same. Ours keeps the memory it frees (`xkeb.models.memory.retain_freed_memory`), as
in `xkeb run`.

What neither is charged for: loading, embedding the training facts (IKE), sampling prefixes, second moments.

    pip install --no-deps easyeditor==0.0.1.dev0 einops nltk
    OMP_NUM_THREADS=2 python benchmarks/speed/vs_easyeditor.py --data-dir DIR [--methods M,M] [--limit 20] [--batch 8]
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import click
import torch

import xkeb
from xkeb.cli.telling import Telling
from xkeb.editing.changes import Change, ContextChange
from xkeb.editing.editor import Editor, make_changes, supported_cases
from xkeb.evaluation.batches import chunks
from xkeb.evaluation.probing import case_queries, predict_after
from xkeb.models.backbone import Backbone
from xkeb.models.memory import retain_freed_memory
from xkeb.models.onednn import use_default
from xkeb.models.prediction import predict
from xkeb.types import Case, Prediction
from xkeb_plugins.methods.easyeditor.package import module
from xkeb_plugins.methods.easyeditor.requests import request
from xkeb_plugins.methods.easyeditor.sandbox import sandbox

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "truth")])

from agreement import Agreement
from easyeditor_pairs import NEAREST, PAIRS, Options
from random_7b import NAME, register_random_7b

T = TypeVar("T")

AIMS = {"ft": 4, "rome": 5, "ike": 5, "kn": 10, "kn-default": 10, "memit": 5}
"""How many times as fast at least; 6 for the geometric mean of the five."""

IKE: Options = {"k": NEAREST}
"""Both show as many demonstrations; `truth/fidelity.py` asks its code for twice as many."""


@dataclass
class Seconds:
    """Of each case."""

    before: list[float] = field(default_factory=list)
    edit: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    def whole(self) -> list[float]:
        return [sum(parts) for parts in zip(self.before, self.edit, self.after, strict=True)]

    def line(self) -> str:
        parts = {
            name: statistics.median(getattr(self, name)) for name in (field.name for field in dataclasses.fields(self))
        }
        return (
            f"{statistics.median(self.whole()):7.3f} s a case ({', '.join(f'{k} {v:.3f}' for k, v in parts.items())})"
        )


class Ours:
    """The suite, a batch of cases at a time."""

    def __init__(self, backbone: Backbone, editor: Editor) -> None:
        self.backbone, self.editor, self.seconds = backbone, editor, Seconds()

    @retain_freed_memory()
    def run(self, cases: Sequence[Case]) -> tuple[Sequence[Change], list[list[Prediction]]]:
        asked = [query for case in cases for query in case_queries(case)]
        timed(self.seconds.before, len(cases), lambda: predict(self.backbone, asked))
        edits = [case.edit for case in cases]
        changes = timed(self.seconds.edit, len(cases), lambda: make_changes(self.editor, self.backbone, edits))
        after = timed(self.seconds.after, len(cases), lambda: predict_after(self.backbone, changes, cases))
        return changes, after


class Its:
    """EasyEdit's code, a case at a time."""

    def __init__(self, backbone: Backbone, editor: Editor, method: str) -> None:
        self.backbone, self.editor, self.method, self.seconds = backbone, editor, method, Seconds()
        if backbone.tokenizer.pad_token_id is None:
            backbone.tokenizer.pad_token_id = backbone.pad_id

    def run(self, case: Case) -> Change:
        shown = [""]
        timed(self.seconds.before, 1, lambda: self.ask(case, shown, before=True))
        (change,) = timed(self.seconds.edit, 1, lambda: make_changes(self.editor, self.backbone, [case.edit]))
        if isinstance(change, ContextChange):  # its evaluation puts the new fact before each question by itself
            shown = [change.context("").rpartition("New Fact: ")[0]]
            timed(self.seconds.after, 1, lambda: self.ask(case, shown, before=False))
        else:
            with change.applied(self.backbone):
                timed(self.seconds.after, 1, lambda: self.ask(case, shown, before=False))
        return change

    def ask(self, case: Case, shown: list[str], *, before: bool) -> None:
        code = module("evaluate.evaluate")
        model, tokenizer = self.backbone.model, self.backbone.tokenizer
        settings = SimpleNamespace(max_length=1024, device=0)  # its default of 40 would cut Chinese questions off
        with sandbox(self.backbone), torch.no_grad():  # its in-context evaluation would keep all activations
            if self.method == "ike":
                code.compute_icl_edit_quality(
                    model, "", settings, tokenizer, shown, record(case), device=0, pre_edit=before
                )
            else:
                code.compute_edit_quality(model, "", settings, tokenizer, record(case), device=0)


def record(case: Case) -> dict[str, Any]:
    """A case as its evaluation takes it in: the edit itself, a rephrase, and all other probes by name."""
    asked: dict[str, Any] = {**request(case.edit), "ground_truth": "", "locality": {}, "portability": {}}
    for i, probe in enumerate(case.probes):
        if probe.property == "reliability":
            continue
        if probe.property == "generality" and probe.language == case.edit.language:
            asked["rephrase_prompt"] = probe.prompt
        else:
            kind = "locality" if probe.property == "locality" else "portability"
            asked[kind][f"{i}"] = {"prompt": probe.prompt, "ground_truth": probe.reference}
    return asked


def timed(seconds: list[float], cases: int, work: Callable[[], T]) -> T:
    started = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds += [(time.perf_counter() - started) / cases] * cases
    return result


# Memory --------------------------------------------------------------------------------------------------------------


def peak(side: str, arguments: Sequence[str]) -> float:
    """Bytes that one side takes for a batch, in a process of its own, above those that are there in any case."""
    found = subprocess.run(
        [sys.executable, __file__, *arguments, "--memory-of", side], check=True, capture_output=True, text=True
    )
    return float(json.loads(found.stdout.splitlines()[-1]))


def resident(key: str) -> int:
    """Bytes now (``VmRSS``) or at most so far (``VmHWM``): of the process, or of what PyTorch has on the card."""
    if torch.cuda.is_initialized():
        return torch.cuda.memory_allocated() if key == "VmRSS" else torch.cuda.max_memory_allocated()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def forgotten() -> int:
    """Bytes now; what there was at most is counted anew from here."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    else:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # freed pages that are kept would count as there in any case
        Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


# The comparison ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    model: str
    task: str
    data_dir: Path | None
    limit: int
    batch: int
    train_size: int
    device: str
    dtype: str

    def sides(self, method: str) -> tuple[Ours, Its, list[Case]]:
        task = xkeb.load_task(self.task, data_dir=self.data_dir)
        training = list(task.training.cases)[: self.train_size]
        here, there = (xkeb.load_backbone(self.model, device=self.device, dtype=self.dtype) for _ in range(2))
        use_default(there.model)
        ours, its = PAIRS[method].prepared(here, there, training, IKE if method == "ike" else {})
        return Ours(here, ours), Its(there, its, method), supported_cases(its, there, list(task)[: self.limit])

    def run(self, method: str) -> float:
        ours, its, cases = self.sides(method)
        ours.run(cases[:1]), its.run(cases[0])  # warm
        ours.seconds, its.seconds = Seconds(), Seconds()
        agreement = Agreement(ours.backbone, its.backbone)
        for chunk in chunks(cases, self.batch):
            changes, answers = ours.run(chunk)
            for case, change, mine in zip(chunk, changes, answers, strict=True):
                agreement.compare(case, change, its.run(case), mine)
        here, there = ours.seconds.whole(), its.seconds.whole()
        ratio = statistics.median(there) / statistics.median(here)
        against = "a plain pass over the same contexts" if method == "ike" else "its edits"
        click.echo(f"{method} ({self.model}, {self.task}, {len(cases)} records, {self.batch} at a time)")
        click.echo(f"  here   {ours.seconds.line()}")
        click.echo(f"  there  {its.seconds.line()}")
        click.echo(f"  {ratio:.1f} times as fast by medians, {sum(there) / sum(here):.1f} in all (aim: {AIMS[method]})")
        click.echo(f"  {len(agreement.flips)} of {agreement.tokens} tokens differ from those of {against}")
        for flip in agreement.flips:
            click.echo(f"    {flip}")
        return ratio


@click.command(cls=Telling)
@click.option("--data-dir", type=Path)
@click.option("--model", default="smollm2-135m", show_default=True, help="``random-7b`` is made on the spot.")
@click.option("--task", default="bizsre_en2zh", show_default=True)
@click.option(
    "--methods",
    default="ft,rome,ike,kn,memit",
    show_default=True,
    help="``kn`` looks for the neurons of EasyEdit's own default answer, ``kn-default`` for those of what the model answers.",
)
@click.option("--limit", default=20, show_default=True, help="Records.")
@click.option("--batch", default=8, show_default=True, help="Cases that ours edits and evaluates at a time.")
@click.option("--train-size", default=2000, show_default=True, help="Training facts for IKE's demonstrations.")
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--dtype", default="float32", show_default=True, help="EasyEdit's code edits a copy in float32 in any case."
)
@click.option("--memory", is_flag=True, help="Peak memory instead of seconds, each side in a process of its own.")
@click.option("--memory-of", type=click.Choice(["ours", "its"]), hidden=True)
def main(methods: str, memory: bool, memory_of: str | None, **options: Any) -> None:
    setting = Setting(**options)
    if setting.model == NAME:
        register_random_7b(setting.task, setting.data_dir)
    if memory_of:
        ours, its, cases = setting.sides(methods)
        work = (lambda: ours.run(cases[: setting.batch])) if memory_of == "ours" else (lambda: its.run(cases[0]))
        work()  # what is read and made once is there
        loaded = forgotten()
        work()
        click.echo(json.dumps(resident("VmHWM") - loaded))
        return
    if memory:
        for method in methods.split(","):
            given = [*sys.argv[1:], "--methods", method]
            here, there = (peak(side, given) / 1e6 for side in ("ours", "its"))
            click.echo(
                f"{method}: above the loaded models {here:.0f} MB here ({setting.batch} cases), {there:.0f} MB there (one)"
            )
        return
    ratios = [setting.run(method) for method in methods.split(",")]
    click.echo(f"geometric mean: {math.prod(ratios) ** (1 / len(ratios)):.1f}")


if __name__ == "__main__":
    main()
