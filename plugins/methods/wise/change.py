"""What an edit becomes: side memories, and a gate that sends each question through the one that knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from xkeb.editing.serialization import METHOD, save_change
from xkeb_plugins.methods.question_gate import NONE, GatedChange
from xkeb_plugins.methods.wise.memory import SideMemory, mean_norm, memories_from, memory_tensors


class SideMemoryChange(GatedChange):
    """No weight is touched: where a question is in the scope of a side memory, its matrix stands in for the model's own."""

    def __init__(self, path: str, memories: Sequence[SideMemory], scope_ratio: float) -> None:
        """
        Args:
            path: of the module.
            memories: at least one.
            scope_ratio: of a memory's smallest difference, the share that a question must exceed.
        """
        self.path, self.memories, self.scope_ratio = path, tuple(memories), scope_ratio

    def pick(self, inputs: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The memory of each text, and what it adds: among those whose threshold it exceeds, the one with the largest
        activation difference; `NONE`, which adds nothing, where there is none.

        Args:
            inputs: [B, T, d_in] of the module.
            mask: [B, T] True at the tokens that count.

        Returns:
            [B], and [B, T, d_out].
        """
        largest = torch.zeros(len(inputs), device=inputs.device)
        choice = torch.full((len(inputs),), NONE, device=inputs.device)
        added = inputs.new_zeros(*inputs.shape[:2], len(self.memories[0].delta))
        for number, memory in enumerate(self.memories):
            moves = self._moves(number, inputs)
            difference = mean_norm(moves, mask)
            better = (difference > memory.smallest * self.scope_ratio) & (difference > largest)
            largest = torch.where(better, difference, largest)
            choice = torch.where(better, number, choice)
            added = torch.where(better[:, None, None], moves, added)
        return choice, added

    def add(self, choice: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """What the chosen memories add, [B, T, d_out]."""
        added = inputs.new_zeros(*inputs.shape[:2], len(self.memories[0].delta))
        for number in range(len(self.memories)):
            added = torch.where((choice == number)[:, None, None], self._moves(number, inputs), added)
        return added

    def _moves(self, number: int, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.memories[number].delta.T.to(inputs)

    def save(self, folder: Path | str) -> None:
        data = {"path": self.path, "scope_ratio": self.scope_ratio}
        save_change(folder, f"{METHOD}wise", memory_tensors(self.memories), data)

    @classmethod
    def from_saved(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> Self:
        return cls(data["path"], memories_from(tensors, torch.device("cpu")), data["scope_ratio"])
