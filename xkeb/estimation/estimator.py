"""What a run of a method on a model will need, in memory and in time, before any weights are loaded.

A dry run works it out: the method's own code, and the suite's, work on tensors that have shapes and no memory
(`xkeb.estimation.fake_tensors`), while a meter counts the bytes that are alive. So nothing about attention, heads,
optimizers or saved activations is guessed at here.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from xkeb.editing.editor import Editor, supported_cases
from xkeb.editing.sights import show_edit, show_training
from xkeb.errors import RequestError
from xkeb.estimation.dry_run import DryRun
from xkeb.estimation.meter import Work
from xkeb.estimation.repeated_layers import LayerCosts
from xkeb.estimation.speed import Speed
from xkeb.evaluation.batches import auto_batch, chunks
from xkeb.evaluation.probing import USUAL, predict_after, predict_before, predict_reference_state
from xkeb.evaluation.protocols import Protocol
from xkeb.models.backbone import Backbone
from xkeb.models.skeleton import Skeleton
from xkeb.types import Case, PromptStyle


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
    def of(cls, cases: Sequence[Case], sizes: Mapping[str, int], batch: int | None, device: torch.device) -> Workload:
        """The heaviest of the groups in which a run on that device takes its cases.

        Args:
            sizes: of each case by its id.
        """

        def heaviest(groups: Iterator[Sequence[Case]]) -> Sequence[Case]:
            return max(groups, key=lambda group: sum(sizes[case.id] for case in group))

        auto = auto_batch(device)
        return cls(len(cases), heaviest(chunks(cases, 2 * auto)), heaviest(chunks(cases, batch or auto)))


Text = tuple[str, str, str]
"""Prompt, what should follow, and language."""


def _texts(case: Case) -> list[Text]:
    texts = [(probe.prompt, probe.reference, probe.language) for probe in case.probes]
    return [*texts, (case.edit.prompt, case.edit.target, case.edit.language)]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run needs."""

    weights: int
    """Bytes of the backbone."""
    learned: int
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
        return self.peak - self.weights - self.learned - self.changes

    def seconds(self, speed: Speed, phases: Sequence[str] = ("before", "edit", "evaluate")) -> float:
        """Of some phases: for one case, and for all of ``fit``."""
        return sum(speed.seconds(self.works[name]) for name in phases if name in self.works)


class Estimator:
    """Runs methods on one model dry."""

    def __init__(
        self,
        skeleton: Skeleton,
        dtype: torch.dtype = torch.float32,
        tokenizer: PreTrainedTokenizerBase | None = None,
        device: str = "cpu",
        *,
        name: str = "",
        prompt: PromptStyle = "plain",
        protocols: Sequence[Protocol] = (USUAL,),
        costs: LayerCosts | None = None,
    ) -> None:
        """
        Args:
            tokenizer: None for the one that stands beside the skeleton's config, or a guess at the number of tokens.
            device: whose memory counts. What only stands on the host is left out, where that is another one.
            name: display name of the model.
            prompt: how questions are put to it.
            protocols: all that each edit is asked under. A free answer is taken to have half the tokens that it may have.
            costs: of layers, shared with other estimators.
        """
        self.skeleton, self.name, self.dtype, self.tokenizer = skeleton, name, dtype, tokenizer
        self.prompt, self.protocols, self.costs = prompt, protocols, costs or LayerCosts()
        self.device = torch.device(device)
        self._lengths: dict[Text, tuple[int, int]] = {}
        """Tokens of a text, and of what should follow."""
        self._before: dict[tuple[Text, ...], tuple[int, Work]] = {}
        """By what is asked together, before any edit: the peak and the work. No method has a part in it."""

    def cost(
        self, editor: Editor, cases: Sequence[Case], training: Sequence[Case] = (), batch: int | None = None
    ) -> Cost:
        """What a method needs for these cases.

        Args:
            training: the facts that it would learn from.
            batch: cases that are edited together.
        """
        session = DryRun(
            self.skeleton,
            self.dtype,
            self.tokenizer,
            name=self.name,
            prompt=self.prompt,
            device=self.device,
            costs=self.costs,
        )
        me = copy.deepcopy(editor).configure(session.backbone.spec)  # what it learns here is nothing to edit with
        session.training = show_training(training, me.sees)
        weights = session.meter.live
        with _garbage_apart(), session.open():
            possible = supported_cases(me, session.backbone, cases)
            sizes = {case.id: self._size(session.backbone, case) for case in cases}
            before = Workload.of(cases, sizes, batch, self.device)
            peak, work = self._asked_before(session, before.before)
            peaks, works = {"before": peak}, {"before": work * (1 / len(before.before))}
            learned = changes = 0
            unknown = None
            if not possible:
                unknown = "it refuses every case"
            else:
                load = Workload.of(possible, sizes, batch, self.device)
                try:
                    learned, changes = _dry_run(session, me, load.batch, self.protocols)
                except RequestError as error:
                    unknown = str(error)
                else:
                    share = 1 / len(load.batch)
                    works |= {name: session.meter.works[name] * share for name in ("edit", "evaluate")}
                    works["fit"] = session.meter.works["fit"]
        peaks |= {name: session.meter.peaks[name] for name in works if name not in peaks}
        return Cost(weights, learned, changes, peaks, works, unknown)

    def _size(self, backbone: Backbone, case: Case) -> int:
        """Of a case, its numbers that leave the head, and those that leave an MLP's first half: what is large of a pass."""
        vocabulary = backbone.model.config.get_text_config().vocab_size
        total = 0
        for text in _texts(case):
            if text not in self._lengths:
                encoded = backbone.encode(*text)
                self._lengths[text] = len(encoded.ids), len(encoded.target_ids)
            tokens, answer = self._lengths[text]
            total += answer * vocabulary + tokens * backbone.layout.intermediate_size
        return total

    def _asked_before(self, session: DryRun, cases: Sequence[Case]) -> tuple[int, Work]:
        """Peak and work of the questions before any edit."""
        key = tuple(text for case in cases for text in _texts(case))
        if key not in self._before:
            with session.phase("before"):
                for protocol in self.protocols:
                    predict_before(session.backbone, cases, protocol)
            self._before[key] = session.meter.peaks["before"], session.meter.works["before"]
        return self._before[key]


@contextmanager
def _garbage_apart() -> Iterator[None]:
    """Inside, a look for garbage passes over what is there already: training facts, and all that is imported."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _dry_run(session: DryRun, editor: Editor, batch: Sequence[Case], protocols: Sequence[Protocol]) -> tuple[int, int]:
    """Learns, edits and evaluates one batch.

    Returns:
        Bytes of what was learned, and of the changes.
    """
    before = session.meter.live
    session.batch = batch
    with session.phase("edit"):
        changes = editor.dry_run(session, [show_edit(case.edit, editor.sees) for case in batch])
    gc.collect()
    total = session.meter.live
    with session.phase("evaluate"):
        for protocol in protocols:
            asked = protocol.for_editor(editor)
            predict_after(session.backbone, changes, batch, asked)
            predict_reference_state(session.backbone, changes, batch, asked)
    del changes
    gc.collect()
    remainder = session.meter.live
    return remainder - before, total - remainder
