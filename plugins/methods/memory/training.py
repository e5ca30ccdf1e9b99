"""How a map of states is trained: what every gate that reads them has in common."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from xkeb.editing.training import Schedule, train
from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.memory.facts import Question, all_questions, asked_as, digest_facts
from xkeb_plugins.methods.memory.space import Space
from xkeb_plugins.methods.memory.states import States, cached_states


class MapTrainee(nn.Module, ABC):
    """A map of states, and the loss that it is trained by over a batch of facts."""

    what: ClassVar[str]

    def __init__(self, space: Space, states: States, weight: torch.Tensor, lr: float, batch_size: int) -> None:
        """
        Args:
            weight: [width, hidden_size] the map as training begins.
            lr: of Adam.
        """
        super().__init__()
        self.space, self.states, self.lr, self.batch_size = space, states, lr, batch_size
        self.map = nn.Parameter(weight.to(states.matrix.device))

    @property
    def module(self) -> nn.Module:
        return self

    @functools.cached_property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        return [torch.optim.Adam(self.parameters(), lr=self.lr)]

    @abstractmethod
    def loss(self, cases: Sequence[Case]) -> torch.Tensor:
        """The mean loss of some facts, each other's outside."""

    def backward(self, cases: Sequence[Case]) -> Mapping[str, float]:
        loss = self.loss(cases)
        loss.backward()
        return {"loss": float(loss.detach())}

    def validate(self, cases: Sequence[Case]) -> Mapping[str, float]:
        """In batches as in training, since the loss depends on how many others there are."""
        size = self.batch_size
        batches = [cases[start : start + size] for start in range(0, len(cases), size)]
        return {"loss": sum(float(self.loss(batch)) * len(batch) / len(cases) for batch in batches)}


@dataclass(frozen=True, kw_only=True)
class MapTraining(ABC):
    """What a map is trained on, and how."""

    facts: Sequence[Case]
    held_out: Sequence[Case]
    """Facts that say when to stop."""
    layer: int
    width: int
    lr: float
    schedule: Schedule

    @abstractmethod
    def trainee(self, space: Space, states: States) -> MapTrainee:
        """The map as training begins."""

    def questions(self) -> list[Question]:
        return all_questions([*self.facts, *self.held_out])

    def space(self, states: States) -> Space:
        """The means are over the questions of the facts in each language; over unrelated ones only if no fact is in it."""
        asked = [question for case in self.facts for question in asked_as(case)]
        spoken = {question.language for question in asked}
        rest = [question for question in self.questions() if question.language not in spoken]
        return Space.of(self.layer, states, [*asked, *rest])

    def first_map(self, states: States) -> torch.Tensor:
        """[width, hidden_size] random numbers that depend on the seed alone."""
        generator = torch.Generator().manual_seed(self.schedule.seed)
        hidden_size = states.matrix.shape[1]
        return torch.randn(self.width, hidden_size, generator=generator) / hidden_size**0.5

    def trained(
        self, backbone: Backbone, method: str, key: Mapping[str, Any]
    ) -> tuple[Space, States, dict[str, torch.Tensor]]:
        """The trained parameters, or those of the cache, with the states that they were trained on.

        Args:
            method: folder of the cache.
            key: what the outcome depends on beside all that is known here.
        """
        texts = list(dict.fromkeys(question.text for question in self.questions()))
        states = cached_states(backbone, self.layer, texts)
        space = self.space(states)
        # A question is read bare, so how questions are put to the model is no part of the key.
        whole = {
            **key,
            "method": method,
            "backbone": backbone.sha256,
            "dtype": str(backbone.dtype),
            "facts": digest_facts(self.facts),
            "held_out": digest_facts(self.held_out),
            "layer": self.layer,
            "width": self.width,
            "lr": self.lr,
        }
        trainee = self.trainee(space, states)
        learnt = train(method, whole, trainee, self.facts, self.held_out, self.schedule)
        return space, states, {name: tensor.to(backbone.device) for name, tensor in learnt.items()}


def unconcerned(questions: Sequence[Question], facts: Sequence[Case]) -> torch.Tensor:
    """[questions, facts] whether a fact is not asked so, in any of its languages or words."""
    places: dict[str, list[int]] = {}
    for i, case in enumerate(facts):
        for question in asked_as(case):
            places.setdefault(question.text, []).append(i)
    far = torch.ones(len(questions), len(facts), dtype=torch.bool)
    for row, question in enumerate(questions):
        far[row, places.get(question.text, [])] = False
    return far
