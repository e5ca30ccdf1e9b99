"""What WISE has learned so far, as a value: its side memories, and the shards that are to become the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch

from xkeb_plugins.methods.wise.merging import merge


@dataclass(frozen=True, slots=True)
class SideMemory:
    """A copy W' of the matrix, as what was added to it, and how it knows its own questions."""

    delta: torch.Tensor
    """[d_out, d_in] W' - W, float32."""
    smallest: float
    """Epsilon: the smallest activation difference that an edit had when it was made."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """When edits begin a new shard, and shards become a memory."""

    edits_per_shard: int
    shards_per_memory: int
    density: float
    """Of the entries of a shard, the share that merging keeps."""


@dataclass(frozen=True, slots=True)
class Memories:
    """All side memories. None of its methods changes it."""

    merged: tuple[SideMemory, ...] = ()
    shards: tuple[SideMemory, ...] = ()
    """Full, and waiting for the others of their memory."""
    current: SideMemory | None = None
    """The shard that is being filled; None before its first edit."""
    edits: int = 0
    """In the current shard."""
    begun: int = 0
    """Shards that are full, merged or not: the number of the current one, counted from 0."""

    def all(self) -> tuple[SideMemory, ...]:
        """Those that questions are compared with."""
        return (*self.merged, *self.shards, *([] if self.current is None else [self.current]))

    def followed(self, made: SideMemory, sharding: Sharding) -> Self:
        """After one more edit, which made the current shard so."""
        smallest = made.smallest if self.current is None else min(self.current.smallest, made.smallest)
        current = SideMemory(made.delta, smallest)
        if self.edits + 1 < sharding.edits_per_shard:
            return replace(self, current=current, edits=self.edits + 1)
        shards = (*self.shards, current)
        full = replace(self, shards=shards, current=None, edits=0, begun=self.begun + 1)
        if len(shards) < sharding.shards_per_memory:
            return full
        delta = merge([shard.delta for shard in shards], sharding.density)
        memory = SideMemory(delta, min(shard.smallest for shard in shards))
        return replace(full, merged=(*self.merged, memory), shards=())

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of it."""
        counts = [len(self.merged), len(self.shards), self.edits, self.begun]
        return {**memory_tensors(self.all()), "counts": torch.tensor(counts)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor], device: torch.device) -> Self:
        """What `tensors` returned, on a device."""
        memories = memories_from(tensors, device)
        merged, shards, edits, begun = tensors["counts"].tolist()
        current = memories[merged + shards] if edits else None
        return cls(memories[:merged], memories[merged : merged + shards], current, edits, begun)


def memory_tensors(memories: Sequence[SideMemory]) -> dict[str, torch.Tensor]:
    """At least one memory as named tensors."""
    return {
        "deltas": torch.stack([memory.delta for memory in memories]),
        "smallest": torch.tensor([memory.smallest for memory in memories], dtype=torch.float64),
    }


def memories_from(tensors: Mapping[str, torch.Tensor], device: torch.device) -> tuple[SideMemory, ...]:
    """What `memory_tensors` returned, on a device."""
    deltas = tensors["deltas"].to(device)
    return tuple(SideMemory(*each) for each in zip(deltas, tensors["smallest"].tolist(), strict=True))


def activation_difference(delta: torch.Tensor, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``|A(x) (W' - W)|`` of each text, the mean over its tokens.

    Args:
        delta: [d_out, d_in] W' - W
        inputs: [B, T, d_in] A(x), what enters the matrix.
        mask: [B, T] True at the tokens that count.

    Returns:
        [B] float32
    """
    return mean_norm(inputs @ delta.T.to(inputs), mask)


def mean_norm(moves: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean norm of what is added at the tokens that count: [B, T, d_out], [B, T] -> [B] float32."""
    norms = moves.float().norm(dim=-1) * mask
    return norms.sum(1) / mask.sum(1).clamp_min(1)
