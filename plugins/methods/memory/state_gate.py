"""A gate that reads the model's own states of a question, through a learned map."""

from __future__ import annotations

import functools
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb_plugins.methods.memory.change import MemoryChange
from xkeb_plugins.methods.memory.facts import Question
from xkeb_plugins.methods.memory.space import Space, unit
from xkeb_plugins.methods.memory.states import States, mean_states


@dataclass(frozen=True)
class StateGate(ABC):
    """Questions as unit vectors of one backbone. A subclass says which of a memory's vectors a question is about."""

    space: Space
    map: torch.Tensor
    """[width, hidden_size]"""
    backbone: str
    """sha256 of the model that it was trained for."""

    @abstractmethod
    def choose(self, memory: MemoryChange, question: Question, vector: torch.Tensor) -> int | None:
        """The place of the edit that a question is about; None where it is about none.

        Args:
            vector: [width] the question, as `embed` gives it.
        """

    def embed(self, backbone: Backbone, questions: Sequence[Question]) -> torch.Tensor:
        """[n, width] unit vectors, on the backbone's device.

        Raises:
            RequestError: another model than the one that it was trained for, or an unknown language.
        """
        if backbone.sha256 != self.backbone:
            raise RequestError(f"This memory was made for another model than {backbone.name!r}.")
        texts = list(dict.fromkeys(question.text for question in questions))
        states = States({text: i for i, text in enumerate(texts)}, mean_states(backbone, self.space.layer, texts))
        return unit(self.space, self.map, states, questions)

    def find(self, backbone: Backbone, asked: Sequence[tuple[MemoryChange, Question]]) -> list[int | None]:
        """For each question the place of the edit that it is about; None where it is about none."""
        different = list(dict.fromkeys(question for _, question in asked))
        if not different:
            return []
        vectors = dict(zip(different, self.embed(backbone, different), strict=True))
        return [self.choose(memory, question, vectors[question]) for memory, question in asked]

    @functools.cached_property
    def sha256(self) -> str:
        """Of all that it is: two gates that are the same answer the same."""
        state = hashlib.sha256(json.dumps(self.record(), sort_keys=True).encode())
        for _, tensor in sorted(self.tensors().items()):
            state.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return state.hexdigest()

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a saved change keeps of it, as tensors."""
        means = {f"mean.{code}": mean for code, mean in self.space.means.items()}
        return {"map": self.map, "scale": self.space.scale, **means}

    def record(self) -> dict[str, Any]:
        """The rest, as data."""
        return {"layer": self.space.layer, "backbone": self.backbone}


def recorded_space(tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]) -> Space:
    """The space of a saved gate."""
    means = {name.removeprefix("mean."): mean for name, mean in tensors.items() if name.startswith("mean.")}
    return Space(record["layer"], means, tensors["scale"])
