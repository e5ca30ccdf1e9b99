"""WISE: side memories for lifelong editing (Wang et al., 2024, https://arxiv.org/abs/2405.14768)."""

from __future__ import annotations

import copy
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
from xkeb.types import Case, Edit, Probe, Property, Sight
from xkeb.utils.hashing import digest
from xkeb_plugins.methods.locate.context_templates import as_prefixes, context_prefixes
from xkeb_plugins.methods.locate.placeholders import placeholder_prefixes
from xkeb_plugins.methods.tuned import tuned_settings
from xkeb_plugins.methods.wise.change import SideMemoryChange
from xkeb_plugins.methods.wise.memory import Memories, Sharding, SideMemory
from xkeb_plugins.methods.wise.training import Margins, Steps, write_edit

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


@dataclass
class Wise(Editor):
    """WISE: a copy of one down-projection, trained on the edits, for the questions that it treats unlike the original."""

    cumulative: ClassVar[bool] = True
    learns_from_any_text: ClassVar[bool] = True
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING})
    requires: ClassVar[frozenset[Property]] = frozenset({"locality"})

    layer: int | None = None
    """Layer of the side memories. None: the tuned one, or as deep as layer 27 of LLaMA-7B's 32."""
    steps: PositiveInt = 70
    """Most steps of gradient descent for an edit."""
    lr: Positive | None = None
    """Step size. None: the tuned one, or 1."""
    alpha: float | None = None
    """Most activation difference of an unrelated question. None: the tuned one, or 5."""
    beta: float | None = None
    """Least activation difference of an edit. None: the tuned one, or 20."""
    gamma: float | None = None
    """Least by which an edit's is larger than an unrelated question's. None: the tuned one, or 10."""
    scope_ratio: Share = 0.88
    """A question is in scope above this share of the smallest activation difference of an edit."""
    norm_constraint: Positive = 1.0
    """Largest change of a single weight."""
    mask_ratio: Share = 0.2
    """Share of the weights that the edits of a shard may change, drawn anew for each shard."""
    edits_per_shard: PositiveInt = 500
    shards_per_memory: PositiveInt = 2
    """Shards that are merged into one side memory."""
    density: Share = 0.53
    """Share of a shard's weights, the most changed ones, that merging keeps."""
    contexts: tuple[tuple[int, int], ...] = ((5, 5), (10, 5))
    """(tokens, how many) of the sampled prefixes."""
    context_templates: tuple[str, ...] | None = None
    """Prefixes to use instead of sampled ones, such as ``"In short. "``, or with EasyEdit's ``{}`` for the prompt,
    ``"In short. {}"``; the bare prompt is always among them."""
    seed: int = 0
    """Of the sampled prefixes, of the masks, and of which unrelated question an edit gets."""

    _unrelated: tuple[Probe, ...] = field(default=(), init=False, repr=False, compare=False)

    def configure(self, spec: ModelSpec) -> Self:
        usual = {"layer": spec.scale_layer(27, of=32), "lr": 1.0, "alpha": 5.0, "beta": 20.0, "gamma": 10.0}
        me = self.filled(usual | tuned_settings("wise", spec))
        if not 0 <= known(me.layer) < spec.n_layers:
            raise RequestError(f"wise.layer is {me.layer}; {spec.name!r} has layers 0 to {spec.n_layers - 1}.")
        if not 0 <= known(me.alpha) < known(me.beta):
            raise RequestError(
                f"wise.alpha is {me.alpha} and wise.beta {me.beta}; alpha from 0 on, and a larger beta were expected."
            )
        return me

    def needs_training(self) -> bool:
        """Whether unrelated questions are needed: always."""
        return True

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Takes note of the training facts' unrelated questions."""
        self._unrelated = tuple(probe for case in cases for probe in case.probes if probe.property == "locality")

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[SideMemoryChange]:
        """A side memory of one edit for each."""
        me = self.configure(backbone.spec)
        return [me._change(backbone, me._after(backbone, edit, Memories())) for edit in edits]

    def edit_after(
        self, backbone: Backbone, edits: Sequence[Edit], past: State
    ) -> tuple[SideMemoryChange, dict[str, torch.Tensor]]:
        """One change that makes all the edits, one after the other, and those before; and its memories as tensors."""
        me = self.configure(backbone.spec)
        memories = Memories.from_tensors(past, me._device(backbone)) if past else Memories()
        for edit in edits:
            memories = me._after(backbone, edit, memories)
        return me._change(backbone, memories), memories.tensors()

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[SideMemoryChange]:
        me = copy.copy(self.configure(session.backbone.spec))
        if me.context_templates is None:
            me.context_templates = placeholder_prefixes(session.backbone, me.contexts)
        with session.phase("fit"):
            me.fit(session.backbone, session.training)

        def edit(steps: int) -> list[SideMemoryChange]:
            me.steps = steps
            return me.edit(session.backbone, edits)

        return session.in_steps(me.steps, edit)

    @classmethod
    def restore(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> Change:
        return SideMemoryChange.from_saved(tensors, data)

    def mask(self, shape: tuple[int, int], shard: int) -> torch.Tensor:
        """The weights that the edits of a shard may change."""
        return torch.rand(shape, generator=torch.Generator().manual_seed(self.seed + shard)) < self.mask_ratio

    def unrelated_to(self, edit: Edit) -> Probe:
        """The unrelated question that an edit is trained with, the same one each time.

        Raises:
            RequestError: `fit` wasn't called.
        """
        if not self._unrelated:
            raise RequestError("WISE sets edits apart from unrelated questions of training facts: call fit() first.")
        drawn = int(digest([self.seed, edit.language, edit.prompt, edit.target]), 16)
        return self._unrelated[drawn % len(self._unrelated)]

    def _after(self, backbone: Backbone, edit: Edit, memories: Memories) -> Memories:
        """The memories with one more edit; of a configured editor."""
        d_in, d_out = widths(backbone.module(backbone.layout.down(known(self.layer))))
        device = self._device(backbone)
        unrelated = self.unrelated_to(edit)
        start = torch.zeros(d_out, d_in, device=device) if memories.current is None else memories.current.delta
        made: SideMemory = write_edit(
            backbone,
            known(self.layer),
            [
                backbone.encode(edit.prompt, edit.target, edit.language, context=before)
                for before in self.prefixes(backbone)
            ],
            backbone.encode_question(unrelated.prompt, unrelated.language).ids,
            start,
            self.mask((d_out, d_in), memories.begun).to(device),
            Margins(known(self.alpha), known(self.beta), known(self.gamma)),
            Steps(self.steps, known(self.lr), self.norm_constraint),
        )
        return memories.followed(made, Sharding(self.edits_per_shard, self.shards_per_memory, self.density))

    def prefixes(self, backbone: Backbone) -> tuple[str, ...]:
        """What stands before the prompt, the empty prefix first."""
        if self.context_templates is not None:
            return ("", *as_prefixes(self.context_templates))
        return context_prefixes(backbone, self.contexts, self.seed)

    def _change(self, backbone: Backbone, memories: Memories) -> SideMemoryChange:
        return SideMemoryChange(backbone.layout.down(known(self.layer)), memories.all(), self.scope_ratio)

    def _device(self, backbone: Backbone) -> torch.device:
        return backbone.parameter(f"{backbone.layout.down(known(self.layer))}.weight").device
