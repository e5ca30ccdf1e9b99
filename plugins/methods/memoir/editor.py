"""MEMOIR: minimal overwrite and informed retention (Wang et al., 2025, https://arxiv.org/abs/2506.07899)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import Field, PositiveInt

from xkeb.editing.changes import Change
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor, known
from xkeb.editing.session import State
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.layout import widths
from xkeb.models.spec import ModelSpec
from xkeb.types import Case, Edit, Property, Sight
from xkeb.utils.artifacts import cached_tensors
from xkeb.utils.hashing import digest
from xkeb_plugins.methods.locate.context_templates import as_prefixes, context_prefixes
from xkeb_plugins.methods.locate.placeholders import placeholder_prefixes
from xkeb_plugins.methods.memoir.background import mean_activations
from xkeb_plugins.methods.memoir.change import ResidualMemoryChange
from xkeb_plugins.methods.memoir.memory import ResidualMemory
from xkeb_plugins.methods.memoir.tophash import TopHash
from xkeb_plugins.methods.memoir.training import Steps, write_edit
from xkeb_plugins.methods.tuned import tuned_settings

Positive = Annotated[float, Field(gt=0)]
OF_FEATURES = 4096 / 14336
"""The share of features that the authors' 4,096 are of those of LLaMA 3 8B."""


@dataclass
class Memoir(Editor):
    """MEMOIR: a memory beside one down-projection; each edit has columns of its own, by which questions about it are known."""

    cumulative: ClassVar[bool] = True
    learns_from_any_text: ClassVar[bool] = True
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING})
    requires: ClassVar[frozenset[Property]] = frozenset({"locality"})

    layer: int | None = None
    """Layer of the memory. None: the tuned one, or as deep as layer 27 of LLaMA 3 8B's 32."""
    steps: PositiveInt = 30
    """Most steps of gradient descent for an edit."""
    lr: Positive | None = None
    """Step size. None: the tuned one, or 1."""
    clip: Positive = 1.0
    """Largest norm of a gradient."""
    top_k: PositiveInt | None = None
    """Columns of an edit. None: the tuned number, or 2/7 of all, as 4,096 are of LLaMA 3 8B's 14,336."""
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """Least share of an edit's columns that a question in scope has in common with it. None: the tuned one, or 0.4."""
    background: PositiveInt = 100
    """Unrelated questions, over which the activations that all questions have are measured."""
    contexts: tuple[tuple[int, int], ...] = ((5, 5), (10, 5))
    """(tokens, how many) of the sampled prefixes."""
    context_templates: tuple[str, ...] | None = None
    """Prefixes to use instead of sampled ones, such as ``"In short. "``, or with EasyEdit's ``{}`` for the prompt,
    ``"In short. {}"``; the bare prompt is always among them."""
    seed: int = 0
    """Of the sampled prefixes, and of the permutation of the columns."""

    _measured: dict[tuple[Any, ...], torch.Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def configure(self, spec: ModelSpec) -> Self:
        features = spec.layout.intermediate_size
        usual = {
            "layer": spec.scale_layer(27, of=32),
            "lr": 1.0,
            "top_k": max(1, round(OF_FEATURES * features)),
            "threshold": 0.4,
        }
        me = self.filled(usual | tuned_settings("memoir", spec))
        if not 0 <= known(me.layer) < spec.n_layers:
            raise RequestError(f"memoir.layer is {me.layer}; {spec.name!r} has layers 0 to {spec.n_layers - 1}.")
        if known(me.top_k) > features:
            raise RequestError(f"memoir.top_k is {me.top_k}; a matrix of {spec.name!r} has {features} columns.")
        return me

    def needs_training(self) -> bool:
        """Whether unrelated questions are needed: always."""
        return True

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Measures the mean activations of the first unrelated questions, or takes them from the cache."""
        me = self.configure(backbone.spec)
        probes = [probe for case in cases for probe in case.probes if probe.property == "locality"]
        questions = [list(backbone.encode_question(one.prompt, one.language).ids) for one in probes[: me.background]]
        if not questions:
            return
        key = {
            "method": "memoir",
            "backbone": backbone.sha256,
            "dtype": str(backbone.dtype),
            "layer": me.layer,
            "questions": digest(questions),
        }
        tensors = cached_tensors(
            "backgrounds", key, lambda: {"mean": mean_activations(backbone, known(me.layer), questions)}
        )
        self._measured[me._place(backbone)] = tensors["mean"].to(backbone.device)

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[ResidualMemoryChange]:
        """A memory of one edit for each."""
        me = self.configure(backbone.spec)
        return [me._change(backbone, me._after(backbone, edit, me._empty(backbone))) for edit in edits]

    def edit_after(
        self, backbone: Backbone, edits: Sequence[Edit], past: State
    ) -> tuple[ResidualMemoryChange, dict[str, torch.Tensor]]:
        """One change that makes all the edits, one after the other, and those before; and its memory as tensors."""
        me = self.configure(backbone.spec)
        memory = ResidualMemory.from_tensors(past, me._device(backbone)) if past else me._empty(backbone)
        for edit in edits:
            memory = me._after(backbone, edit, memory)
        return me._change(backbone, memory), memory.tensors()

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[ResidualMemoryChange]:
        me = dataclasses.replace(self).configure(session.backbone.spec)
        if me.context_templates is None:
            me.context_templates = placeholder_prefixes(session.backbone, me.contexts)
        with session.phase("fit"):
            me.fit(session.backbone, session.training)
        session.retained.append(me)

        def edit(steps: int) -> list[ResidualMemoryChange]:
            me.steps = steps
            return me.edit(session.backbone, edits)

        return session.in_steps(me.steps, edit)

    @classmethod
    def restore(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> Change:
        return ResidualMemoryChange.from_saved(tensors, data)

    def hasher(self, backbone: Backbone) -> TopHash:
        """What finds the columns of a question.

        Raises:
            RequestError: `fit` wasn't called.
        """
        me = self.configure(backbone.spec)
        if (place := me._place(backbone)) not in self._measured:
            raise RequestError("MEMOIR compares questions with unrelated ones of training facts: call fit() first.")
        return TopHash.drawn(self._measured[place], known(me.top_k), me.seed)

    def prefixes(self, backbone: Backbone) -> tuple[str, ...]:
        """What stands before the prompt, the empty prefix first."""
        if self.context_templates is not None:
            return ("", *as_prefixes(self.context_templates))
        return context_prefixes(backbone, self.contexts, self.seed)

    def _after(self, backbone: Backbone, edit: Edit, memory: ResidualMemory) -> ResidualMemory:
        """The memory with one more edit; of a configured editor."""
        texts = [
            backbone.encode(edit.prompt, edit.target, edit.language, context=before)
            for before in self.prefixes(backbone)
        ]
        steps = Steps(self.steps, known(self.lr), self.clip)
        return write_edit(backbone, known(self.layer), texts, self.hasher(backbone), memory, steps)

    def _change(self, backbone: Backbone, memory: ResidualMemory) -> ResidualMemoryChange:
        path = backbone.layout.down(known(self.layer))
        return ResidualMemoryChange(path, self.hasher(backbone), memory, known(self.threshold))

    def _empty(self, backbone: Backbone) -> ResidualMemory:
        module = backbone.module(backbone.layout.down(known(self.layer)))
        return ResidualMemory.empty(*widths(module), self._device(backbone))

    def _device(self, backbone: Backbone) -> torch.device:
        return backbone.parameter(f"{backbone.layout.down(known(self.layer))}.weight").device

    def _place(self, backbone: Backbone) -> tuple[Any, ...]:
        return (backbone.sha256, backbone.dtype, backbone.device, backbone.prompt_key, known(self.layer))
