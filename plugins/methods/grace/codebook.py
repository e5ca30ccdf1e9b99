"""The codebook of GRACE: what it has learned so far, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch

APART = 1e-5
"""By how much a radius stays below half the distance to the key that it was split from."""


@dataclass(frozen=True, slots=True)
class Codebook:
    """n entries, all float32. None of its methods changes it."""

    keys: torch.Tensor
    """[n, d_in] inputs of the edited module."""
    values: torch.Tensor
    """[n, d_out] what leaves it instead."""
    radii: torch.Tensor
    """[n] largest distance from a key at which its value is used."""
    answers: tuple[tuple[int, ...], ...]
    """The ids of each entry's answer: they say whether a new edit agrees with an old one."""

    @classmethod
    def empty(cls, d_in: int, d_out: int, device: torch.device) -> Self:
        """One without entries."""
        keys, values, radii = (torch.zeros(shape, device=device) for shape in ((0, d_in), (0, d_out), (0,)))
        return cls(keys, values, radii, ())

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Self:
        """What `tensors` returned."""
        lengths = tensors["lengths"].tolist()
        answers = tuple(tuple(part.tolist()) for part in tensors["answers"].split(lengths))
        return cls(tensors["keys"], tensors["values"], tensors["radii"], answers)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of it; the ids of the answers in one row, and how many each of them has."""
        return {
            "keys": self.keys,
            "values": self.values,
            "radii": self.radii,
            "answers": torch.tensor([token for answer in self.answers for token in answer]),
            "lengths": torch.tensor([len(answer) for answer in self.answers]),
        }

    def __len__(self) -> int:
        return len(self.answers)

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return replace(self, keys=self.keys.to(device), values=self.values.to(device), radii=self.radii.to(device))

    def find(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The nearest entry of each input, [..., d_in], and whether it is in scope: twice [...] (Eq. 1)."""
        distances = _distances(inputs.reshape(-1, inputs.shape[-1]), self.keys)
        nearest = distances.min(1)
        inside = nearest.values <= self.radii[nearest.indices]
        return nearest.indices.reshape(inputs.shape[:-1]), inside.reshape(inputs.shape[:-1])

    def look_up(self, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """A module's outputs, [..., d_out], with the values of entries where its inputs, [..., d_in], are in scope."""
        me = self.to(inputs.device)
        nearest, inside = me.find(inputs)
        return torch.where(inside[..., None], me.values[nearest].to(outputs), outputs)

    def placed(
        self, key: torch.Tensor, value: torch.Tensor, answer: tuple[int, ...], radius: float
    ) -> tuple[Self, int]:
        """The codebook with room for an edit, and the entry whose value is to be trained (Algorithm 1).

        Far from all keys, a new entry. Near one with another answer, a new one, and both radii become half the distance; at the
        very same key there is no room for two, and the new answer takes the old one's place. Near one with the same answer,
        that one, its radius grown to the distance.

        Args:
            key: [d_in]
            value: [d_out] where training starts.
            radius: of a new entry.
        """
        if not self.answers:
            return self._with(key, value, answer, radius), 0
        distances = _distances(key[None], self.keys)[0]
        nearest = int(distances.argmin())
        distance, old = float(distances[nearest]), float(self.radii[nearest])
        if distance > old + radius:
            return self._with(key, value, answer, radius), len(self)
        if self.answers[nearest] == answer:
            return self._changed(nearest, radius=max(old, distance)), nearest
        if distance / 2 <= APART:
            return self._changed(nearest, value=value, answer=answer), nearest
        return self._changed(nearest, radius=distance / 2 - APART)._with(key, value, answer, distance / 2), len(self)

    def valued(self, entry: int, value: torch.Tensor) -> Self:
        """The same with another value of one entry."""
        return self._changed(entry, value=value)

    def _with(self, key: torch.Tensor, value: torch.Tensor, answer: tuple[int, ...], radius: float) -> Self:
        return replace(
            self,
            keys=torch.cat([self.keys, key[None]]),
            values=torch.cat([self.values, value[None]]),
            radii=torch.cat([self.radii, self.radii.new_full((1,), radius)]),
            answers=(*self.answers, answer),
        )

    def _changed(
        self,
        entry: int,
        *,
        value: torch.Tensor | None = None,
        answer: tuple[int, ...] | None = None,
        radius: float | None = None,
    ) -> Self:
        values, radii, answers = self.values.clone(), self.radii.clone(), list(self.answers)
        if value is not None:
            values[entry] = value
        if radius is not None:
            radii[entry] = radius
        if answer is not None:
            answers[entry] = answer
        return replace(self, values=values, radii=radii, answers=tuple(answers))


def _distances(inputs: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Euclidean, [t, n]. By differences: a matrix product would put a key at some distance from itself."""
    return torch.cdist(inputs.float(), keys, compute_mode="donot_use_mm_for_euclid_dist")
