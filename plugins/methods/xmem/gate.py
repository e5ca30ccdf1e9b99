"""The gate: is a question about an edit? In whatever languages both are.

A question is the mean state of its tokens (`xkeb_plugins.methods.xmem.states`) minus the mean over the training facts'
questions in its language, divided by their standard deviations, through a learned map, as a unit vector. Two questions are
compared by the cosine.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb_plugins.methods.xmem.cutoff import CutOffs
from xkeb_plugins.methods.xmem.facts import Question
from xkeb_plugins.methods.xmem.states import States, mean_states

SMALLEST = 1e-6
"""Of a standard deviation: a number that is the same in all questions stays what it is."""


@dataclass(frozen=True)
class Space:
    """Where questions become comparable."""

    layer: int
    """Whose output is read."""
    means: Mapping[str, torch.Tensor]
    """By language, the mean state of its questions: [hidden_size]."""
    scale: torch.Tensor
    """[hidden_size] what each number is divided by: its standard deviation around the means. A model's states have a few
    numbers that are far larger than all others, which would decide every cosine."""

    @classmethod
    def of(cls, layer: int, states: States, questions: Sequence[Question]) -> Self:
        """The space in which some questions have mean zero, by language, and variance one."""
        by_language: dict[str, list[str]] = {}
        for question in questions:
            by_language.setdefault(question.language, []).append(question.text)
        means = {code: states.of(texts).mean(0) for code, texts in by_language.items()}
        rest = torch.cat([states.of(texts) - means[code] for code, texts in by_language.items()])
        return cls(layer, means, rest.square().mean(0).sqrt().clamp_min(SMALLEST))

    def normalized(self, states: torch.Tensor, questions: Sequence[Question]) -> torch.Tensor:
        """[n, hidden_size] states minus the means of their languages, over `scale`.

        Raises:
            RequestError: no training question was in one of the languages.
        """
        for question in questions:
            if question.language not in self.means:
                raise RequestError(
                    f"The memory knows questions in {', '.join(sorted(self.means))}, none in {question.language!r}."
                )
        means = torch.stack([self.means[question.language] for question in questions])
        return (states - means.to(states)) / self.scale.to(states)


@dataclass(frozen=True)
class Gate:
    """The trained gate of one backbone."""

    space: Space
    map: torch.Tensor
    """[width, hidden_size]"""
    cutoffs: CutOffs
    backbone: str
    """sha256 of the model that it was trained for."""

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
        cutoffs = {"same": list(self.cutoffs.same), "other": list(self.cutoffs.other)}
        return {"layer": self.space.layer, "cutoffs": cutoffs, "backbone": self.backbone}

    @classmethod
    def recorded(cls, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]) -> Self:
        """The gate of a saved change."""
        means = {name.removeprefix("mean."): mean for name, mean in tensors.items() if name.startswith("mean.")}
        cutoffs = CutOffs(tuple(record["cutoffs"]["same"]), tuple(record["cutoffs"]["other"]))
        return cls(Space(record["layer"], means, tensors["scale"]), tensors["map"], cutoffs, record["backbone"])


def unit(space: Space, weight: torch.Tensor, states: States, questions: Sequence[Question]) -> torch.Tensor:
    """[n, width] the unit vectors of some questions whose states are known; `weight` is [width, hidden_size]."""
    normalized = space.normalized(states.of([question.text for question in questions]), questions)
    return F.normalize(normalized @ weight.to(normalized).T, dim=-1)
