"""What an edit becomes: an entry in a memory, and a router that knows when to consult it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xkeb.editing.serialization import save_change
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Delegate, Intervention
from xkeb.types import Edit, Query
from xkeb_plugins.methods.serac.artifact import Artifact
from xkeb_plugins.methods.serac.counterfactual import shown
from xkeb_plugins.methods.serac.scope import Encoder, Measure

KIND = "method:serac"


@dataclass(frozen=True)
class Router:
    """The two networks, trained, and what makes a question theirs."""

    encoder: Encoder
    measure: Measure
    counterfactual: Backbone
    threshold: float
    """Least similarity of a question in scope."""
    options: Mapping[str, Any]
    """The editor's."""
    artifacts: tuple[Artifact, ...]
    """Of the encoder, and of the counterfactual model."""

    def record(self) -> dict[str, Any]:
        """What a saved change says, so that this very router is found again."""
        artifacts = [artifact.record() for artifact in self.artifacts]
        return {"options": dict(self.options), "artifacts": artifacts, "prompt": self.counterfactual.prompt}

    def to(self, device: torch.device) -> None:
        """Brings the networks to where the edited model is."""
        self.encoder.model.to(device)
        model: nn.Module = self.counterfactual.model
        model.to(device)

    def delegates(self, memories: Sequence[Sequence[Edit]], queries: Sequence[Query]) -> list[Delegate | None]:
        """Who answers each question: the counterfactual model, shown the edit of its memory that is most similar, where
        that one is similar enough; else the backbone."""
        prompts = [edit.prompt for memory in memories for edit in memory]
        vectors = self.encoder.embed([*(query.prompt for query in queries), *prompts])
        return [
            self._delegate(memory, vectors[query.prompt], vectors)
            for memory, query in zip(memories, queries, strict=True)
        ]

    def _delegate(
        self, memory: Sequence[Edit], question: torch.Tensor, vectors: Mapping[str, torch.Tensor]
    ) -> Delegate | None:
        edits = torch.stack([vectors[edit.prompt] for edit in memory])  # (n, d)
        similarities = torch.exp(-self.measure.distance(edits, question))
        best = int(similarities.argmax())
        inside = float(similarities[best]) >= self.threshold
        return Delegate(self.counterfactual, shown(memory[best])) if inside else None


class MemoryChange:
    """Facts in a memory; no weight is touched."""

    def __init__(self, facts: Sequence[Edit], router: Router) -> None:
        """
        Args:
            facts: what is remembered, at least one; of each, what it says in its own language.
        """
        self.facts = tuple(dataclasses.replace(fact, translations={}, questions={}, aliases=()) for fact in facts)
        self.router = router

    def followed_by(self, later: MemoryChange) -> MemoryChange:
        """One memory of all the facts; of two that answer the same question, the later one."""
        said = {(fact.language, fact.prompt) for fact in later.facts}
        kept = [fact for fact in self.facts if (fact.language, fact.prompt) not in said]
        return MemoryChange([*kept, *later.facts], later.router)

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        self.router.to(backbone.device)
        with _MemoryIntervention([self]).installed(backbone):
            yield

    @classmethod
    def batched(cls, backbone: Backbone, changes: Sequence[MemoryChange]) -> Intervention | None:
        """None where the changes were made by different routers."""
        if any(change.router is not changes[0].router for change in changes):
            return None
        changes[0].router.to(backbone.device)
        return _MemoryIntervention(changes)

    def save(self, folder: Path | str) -> None:
        """Writes the facts, and which trained networks they need; these stay in the cache."""
        names = ("prompt", "target", "language", "subject")
        facts = [{name: getattr(fact, name) for name in names} for fact in self.facts]
        save_change(folder, KIND, {}, {"facts": facts, "router": self.router.record()})


class _MemoryIntervention(Intervention):
    def __init__(self, changes: Sequence[MemoryChange]) -> None:
        super().__init__()
        self.changes = changes

    def delegates(self, queries: Sequence[Query]) -> Sequence[Delegate | None]:
        return self.changes[0].router.delegates([self.changes[query.row].facts for query in queries], queries)
