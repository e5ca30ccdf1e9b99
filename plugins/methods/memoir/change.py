"""What an edit becomes: a residual memory, and a gate that knows a question by the columns it shares with an edit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch

from xkeb.editing.serialization import METHOD, save_change
from xkeb_plugins.methods.memoir.memory import ResidualMemory
from xkeb_plugins.methods.memoir.tophash import TopHash
from xkeb_plugins.methods.question_gate import NONE, GatedChange


class ResidualMemoryChange(GatedChange):
    """No weight is touched: a question that is near enough to an edit gets what the memory has in that edit's columns."""

    def __init__(self, path: str, hasher: TopHash, memory: ResidualMemory, threshold: float) -> None:
        """
        Args:
            path: of the module.
            memory: of at least one edit.
            threshold: share of an edit's columns that a question has at least in common with it.
        """
        self.path, self.hasher, self.memory, self.threshold = path, hasher, memory, threshold

    def pick(self, inputs: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nearest, shared = self.memory.overlap(self.hasher.columns(inputs, mask))
        choice = torch.where(shared >= self.threshold * self.hasher.top_k, nearest, NONE)
        return choice, self.add(choice, inputs)

    def add(self, choice: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        return self.memory.add(choice, inputs)

    def save(self, folder: Path | str) -> None:
        hashing = {"background": self.hasher.background, "permutation": self.hasher.permutation}
        data = {"path": self.path, "threshold": self.threshold, "top_k": self.hasher.top_k}
        save_change(folder, f"{METHOD}memoir", {**self.memory.tensors(), **hashing}, data)

    @classmethod
    def from_saved(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> Self:
        hasher = TopHash(tensors["background"], tensors["permutation"], data["top_k"])
        memory = ResidualMemory.from_tensors(tensors, torch.device("cpu"))
        return cls(data["path"], hasher, memory, data["threshold"])
