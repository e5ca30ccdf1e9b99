"""What a run of a method on a model will need, in memory and in time, before any weights are loaded.

The run is rehearsed: the method's own code, and the suite's, work on tensors that have shapes and no memory
(`xkeb.rehearsal`), while a meter counts the bytes that are alive. So nothing about attention, heads, optimisers or saved
activations is guessed at here.
"""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from xkeb.backbone import Backbone
from xkeb.changes import Change
from xkeb.editor import Rehearsing, able
from xkeb.errors import RequestError
from xkeb.evaluation import chunks, predict_after, queries
from xkeb.kernels import use_onednn
from xkeb.memory import reusing
from xkeb.meter import Work
from xkeb.outline import Outline
from xkeb.plan import AUTO_BATCH
from xkeb.predict import predict
from xkeb.stage import Stage
from xkeb.types import Case

EFFICIENCY = 0.5
"""Of the speed of one large product of matrices, what a model's many smaller ones reach."""
TRIAL = 0.2
"""Seconds that measuring a machine's speed takes, about."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The cases of a run that need the most at once."""

    n: int
    """Cases of the run."""
    before: Sequence[Case]
    """Of those whose untouched answers are asked for together, the ones with the most to answer."""
    batch: Sequence[Case]
    """Of those that are edited together, likewise."""

    @classmethod
    def of(cls, backbone: Backbone, cases: Sequence[Case], batch: int) -> Workload:
        """The heaviest of the groups in which a run takes its cases."""
        sizes = {case.id: _size(backbone, case) for case in cases}

        def heaviest(groups: Iterator[Sequence[Case]]) -> Sequence[Case]:
            return max(groups, key=lambda group: sum(sizes[case.id] for case in group))

        return cls(len(cases), heaviest(chunks(cases, 2 * AUTO_BATCH)), heaviest(chunks(cases, batch)))


def _size(backbone: Backbone, case: Case) -> int:
    """Of a case, its numbers that leave the head, and those that leave an MLP's first half: what is large of a pass."""
    vocabulary = backbone.model.config.get_text_config().vocab_size
    texts = [(probe.prompt, probe.reference, probe.language) for probe in case.probes]
    texts.append((case.edit.prompt, case.edit.target, case.edit.language))
    encoded = [backbone.encode(*text) for text in texts]
    return sum(
        len(text.target_ids) * vocabulary + len(text.ids) * backbone.layout.intermediate_size for text in encoded
    )


@dataclass(frozen=True, slots=True)
class Speed:
    """Of a machine."""

    flops: float
    """A second, in a large linear layer."""
    moved: float
    """Bytes a second, read and written."""
    overhead: float
    """Seconds that an operation takes which has next to nothing to do."""

    def seconds(self, work: Work) -> float:
        return work.flops / (EFFICIENCY * self.flops) + work.moved / self.moved + work.operations * self.overhead


@reusing()
def measure_speed(device: torch.device, dtype: torch.dtype) -> Speed:
    """Tries what the machine does in a fifth of a second, as a run does it: in memory that it had before."""
    n = 1024 if device.type == "cpu" else 4096  # a product that is too small for a card would say how long a call takes
    one = torch.ones(n, n, device=device, dtype=dtype)
    layers = torch.nn.Sequential(torch.nn.Linear(n, n, bias=False, device=device, dtype=dtype)).requires_grad_(False)
    use_onednn(layers)  # as a backbone's are
    large = torch.ones(2**23, device=device, dtype=dtype)
    small = torch.ones(8, device=device)
    return Speed(
        2 * n**3 * _rate(lambda: layers(one), device),
        2 * large.nbytes * _rate(lambda: large.neg(), device),
        1 / _rate(lambda: small.neg(), device),
    )


def _rate(act: Callable[[], Any], device: torch.device) -> float:
    """How often a second something can be done."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    act()
    wait()
    count, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < TRIAL / 3:
        for _ in range(4):
            act()
        wait()
        count += 4
    return count / spent


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run needs."""

    weights: int
    """Bytes of the backbone."""
    learnt: int
    """Bytes of what learning leaves: statistics, networks."""
    changes: int
    """Bytes of the changes of one batch."""
    peaks: Mapping[str, int]
    """Most bytes alive at once in each phase: ``before``, ``fit``, ``edit``, ``evaluate``. What is learnt once may be in
    the cache already; what isn't known, a phase in which the method doesn't say what it does, is missing."""
    works: Mapping[str, Work]
    """Work of each phase: of learning as a whole, of the others for one case."""
    unknown: str | None = None
    """Why nothing is known of the edit, where that is so."""

    @property
    def peak(self) -> int:
        """Most bytes alive at once."""
        return max(self.peaks.values())

    @property
    def activations(self) -> int:
        """Of the peak, what comes and goes: activations, gradients, logits, an optimiser's moments."""
        return self.peak - self.weights - self.learnt - self.changes

    def seconds(self, speed: Speed, phases: Sequence[str] = ("before", "edit", "evaluate")) -> float:
        """Of some phases: for one case, and for all of ``fit``."""
        return sum(speed.seconds(self.works[name]) for name in phases if name in self.works)


class Estimator:
    """Rehearses methods on one model."""

    def __init__(
        self,
        outline: Outline,
        dtype: torch.dtype = torch.float32,
        tokenizer: PreTrainedTokenizerBase | None = None,
        device: str = "cpu",
        *,
        name: str = "",
    ) -> None:
        """
        Args:
            name: what the model is registered as; some methods have values of their own for some.
            tokenizer: None for the one that stands beside the outline's config, or a guess at the number of tokens.
            device: whose memory counts. What only stands on the host is left out, where that is another one.
        """
        self.outline, self.name, self.dtype, self.tokenizer = outline, name, dtype, tokenizer
        self.device = torch.device(device)

    def cost(self, editor: Any, cases: Sequence[Case], training: Sequence[Case] = (), batch: int | None = None) -> Cost:
        """What a method needs for these cases.

        Args:
            training: the facts that it would learn from.
            batch: cases that are edited together.
        """
        editor = copy.deepcopy(editor)  # what it learns here is nothing to edit with
        stage = Stage(self.outline, self.dtype, self.tokenizer, name=self.name, device=self.device)
        stage.training = training
        weights = stage.meter.live
        with stage.open():
            possible = able(editor, stage.backbone, cases)
            before = Workload.of(stage.backbone, cases, batch or AUTO_BATCH)
            with stage.phase("before"):
                predict(stage.backbone, [query for case in before.before for query in queries(case, 0)])
            works = {"before": stage.meter.works["before"] * (1 / len(before.before))}
            learnt = changes = 0
            unknown = None
            if not possible:
                unknown = "it refuses every case"
            elif not isinstance(editor, Rehearsing):
                unknown = f"{type(editor).__name__} doesn't say what an edit needs"
            else:
                load = Workload.of(stage.backbone, possible, batch or AUTO_BATCH)
                try:
                    learnt, changes = _rehearse(stage, editor, load.batch)
                except RequestError as error:
                    unknown = str(error)
                else:
                    share = 1 / len(load.batch)
                    works |= {name: stage.meter.works[name] * share for name in ("edit", "evaluate")}
                    works["fit"] = stage.meter.works["fit"]
        peaks = {name: stage.meter.peaks[name] for name in works}
        return Cost(weights, learnt, changes, peaks, works, unknown)


def _rehearse(stage: Stage, editor: Rehearsing, batch: Sequence[Case]) -> tuple[int, int]:
    """Learns, edits and evaluates one batch.

    Returns:
        Bytes of what was learnt, and of the changes.
    """
    before = stage.meter.live
    stage.batch = batch
    with stage.phase("edit"):
        changes: Sequence[Change] = editor.rehearse(stage, [case.edit for case in batch])
    gc.collect()
    held = stage.meter.live
    with stage.phase("evaluate"):
        predict_after(stage.backbone, changes, batch)
    del changes
    gc.collect()
    left = stage.meter.live
    return left - before, held - left


def estimate(
    outline: Outline,
    editor: Any,
    cases: Sequence[Case],
    *,
    name: str = "",
    training: Sequence[Case] = (),
    dtype: torch.dtype = torch.float32,
    batch: int | None = None,
    device: str = "cpu",
) -> Cost:
    """What a method needs on a model, see `Estimator`."""
    return Estimator(outline, dtype, device=device, name=name).cost(editor, cases, training, batch)
