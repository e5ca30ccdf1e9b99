"""One method on one backbone: what its checks share."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import torch

from xkeb.editing.changes import Change, ContextChange, WeightChange
from xkeb.editing.editor import Editor, load_editor, prepare
from xkeb.editing.sights import show_edit
from xkeb.evaluation.probing import case_queries, predict_edited
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import installed_intervention
from xkeb.tasks.task import shipped_task
from xkeb.testing.state import Snapshot, generators, model_state, other_generators, own_cache, settings
from xkeb.types import Case, Edit, Query
from xkeb.utils.hashing import digest

CASES, FACTS = 3, 30
"""Edits that are made, and facts that a method learns from."""


@dataclass(frozen=True)
class Made:
    """What came of an edit of all cases, and the states before and after."""

    changes: Sequence[Change]
    model: tuple[Snapshot, Snapshot, Snapshot]
    """Before learning, after it, and after the edit."""
    settings: tuple[Snapshot, Snapshot]
    generators: tuple[Snapshot, Snapshot]


@dataclass
class Trial:
    """A context, in which the method learns in a cache of its own."""

    method: str
    backbone: Backbone
    options: Mapping[str, Any] = field(default_factory=dict)
    cases: Sequence[Case] = ()
    facts: Sequence[Case] = ()

    def __post_init__(self) -> None:
        task = shipped_task()
        self.cases = self.cases or list(task)[:CASES]
        self.facts = self.facts or task.parallel_training.cases[:FACTS]

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._stack.enter_context(own_cache())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def is_exact(self) -> bool:
        """Whether the model computes in float32; in less, rounding decides what a model of random weights answers."""
        return self.backbone.dtype == torch.float32

    @property
    def edits(self) -> list[Edit]:
        return [case.edit for case in self.cases]

    def editor(self, **options: Any) -> Editor:
        """The editor, with whatever it has to learn learnt."""
        return prepare(load_editor(self.method, **{**self.options, **options}), self.backbone, self.facts)

    def on_other_weights(self) -> Trial:
        """The first edit, with a model of the same name and shape whose weights were drawn anew."""
        backbone = self.backbone
        model: Any = backbone.model
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = type(model)(copy.deepcopy(model.config)).to(backbone.device, backbone.dtype)
        other = Backbone(backbone.name, model, backbone.tokenizer, digest(["other weights", backbone.sha256])).prepare()
        return dataclasses.replace(self, backbone=other, cases=self.cases[:1])

    @functools.cached_property
    def outcome(self) -> Made:
        return self._make()

    @functools.cached_property
    def again(self) -> Made:
        """The same once more: learnt anew, and with the shared generators in another state. The first time, libraries were
        imported, which may leave traces of their own."""
        with own_cache(), other_generators():
            return self._make()

    def _make(self) -> Made:
        states = [model_state(self.backbone)]
        set_before, drawn_before = settings(), generators()
        editor = self.editor()
        states.append(model_state(self.backbone))
        changes = make_any_changes(editor, self.backbone, self.edits)
        states.append(model_state(self.backbone))
        return Made(changes, (states[0], states[1], states[2]), (set_before, settings()), (drawn_before, generators()))

    @property
    def changes(self) -> Sequence[Change]:
        return self.outcome.changes

    def same(self, one: Any, other: Any, *, tolerance: float = 0.0) -> bool:
        """Whether two changes of a case do the same.

        Args:
            tolerance: of a change of weights, the largest norm of the difference, in norms of the change.

        One that was loaded stands on the CPU until it is applied.
        """
        if type(one) is not type(other):
            return False
        if isinstance(one, ContextChange):
            texts = [(change.text, change.before and change.before.text) for change in (one, other)]
            return texts[0] == texts[1]
        if not isinstance(one, WeightChange):
            return self.answers(one) == self.answers(other)
        first = one.deltas()
        second = {
            name: delta.to(first[name].device) if name in first else delta for name, delta in other.deltas().items()
        }
        return first.keys() == second.keys() and all(
            torch.equal(delta, second[name])
            if not tolerance
            else float((delta - second[name]).detach().norm()) <= tolerance * float(delta.detach().norm())
            for name, delta in first.items()
        )

    def answers(self, change: Change) -> list[tuple[int, ...]]:
        """The ids that are predicted for every case's probes under a change."""
        queries = [query for case in self.cases for query in case_queries(case, 0)]
        return [answer.ids for answer in predict_edited(self.backbone, change, queries)]


def make_any_changes(editor: Editor, backbone: Backbone, edits: Sequence[Edit]) -> Sequence[Change]:
    """As `make_changes`, but how many there are is left to a check."""
    return editor.edit(backbone, [show_edit(edit, editor.sees) for edit in edits])


def speaks_otherwise(backbone: Backbone, edit: Edit) -> bool:
    """Whether what is at work is a context, or another model that answers: then how likely this model finds the target
    says nothing, since a model of random weights understands no context."""
    intervention = installed_intervention(backbone)
    if intervention is None:
        return False
    query = Query(edit.prompt, edit.target, edit.language)
    return bool(intervention.context(0, edit.language)) or intervention.delegates([query])[0] is not None


@torch.inference_mode()
def likelihood(backbone: Backbone, edit: Edit) -> float:
    """The log-probability of what a model has to say after an edit's prompt, in nats: its target, and before it the separator
    where that is a token of its own."""
    encoded = backbone.encode(edit.prompt, edit.target, edit.language)
    ids = torch.tensor([encoded.ids], device=backbone.device)
    hidden = backbone.hidden(ids)[0, encoded.prompt_end - 1 : -1]  # (tokens to say, D)
    chances = backbone.logits(hidden).float().log_softmax(-1)
    return float(chances[torch.arange(len(hidden)), ids[0, encoded.prompt_end :]].sum())
