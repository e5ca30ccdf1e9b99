"""The gate: is a question about an edit? In whatever languages both are.

A question is its normalized state (`xkeb_plugins.methods.memory.space`) through a learned map, as a unit vector. Two questions
are compared by the cosine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch

from xkeb_plugins.methods.memory.change import MemoryChange
from xkeb_plugins.methods.memory.facts import Question
from xkeb_plugins.methods.memory.state_gate import StateGate, recorded_space
from xkeb_plugins.methods.xmem.cutoff import CutOffs


@dataclass(frozen=True)
class Gate(StateGate):
    """The trained gate of one backbone."""

    cutoffs: CutOffs
    threshold: float | None = None
    """The cut-off, instead of those."""

    def choose(self, memory: MemoryChange, question: Question, vector: torch.Tensor) -> int | None:
        """The place of the edit whose cosine is highest above its cut-off; None if all are below."""
        cosines = memory.vectors.to(vector) @ vector  # (n,)
        above = cosines - self._cutoffs(memory, question.language).to(cosines)
        best = int(above.argmax())
        return best if float(above[best]) >= 0 else None

    def _cutoffs(self, memory: MemoryChange, language: str) -> torch.Tensor:
        """[n] the cut-off of each edit for a question in that language."""
        n = len(memory.entries)
        if self.threshold is not None:
            return torch.full((n,), self.threshold)
        same, other = self.cutoffs.of(n, same=True), self.cutoffs.of(n, same=False)
        return torch.where(memory.in_language(language), same, other)

    def record(self) -> dict[str, Any]:
        cutoffs = {"same": list(self.cutoffs.same), "other": list(self.cutoffs.other)}
        return {**super().record(), "cutoffs": cutoffs, "threshold": self.threshold}

    @classmethod
    def recorded(cls, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]) -> Self:
        """The gate of a saved change."""
        cutoffs = CutOffs(tuple(record["cutoffs"]["same"]), tuple(record["cutoffs"]["other"]))
        space = recorded_space(tensors, record)
        return cls(space, tensors["map"], record["backbone"], cutoffs, record["threshold"])
