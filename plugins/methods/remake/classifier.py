"""The classifier: do two questions, in whatever languages, ask the same?

A question is its normalized state (`xkeb_plugins.methods.memory.space`) through a learned map, as a unit vector a. For two of
them, the log-odds of asking the same are logistic regression on their products and squared differences,

    SCALE * (sum over i of u_i a_i b_i - sum over i of v_i (a_i - b_i)^2 + c)

with learned u, v and c.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import nn

from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.memory.change import MemoryChange
from xkeb_plugins.methods.memory.facts import Question, asked_as, unrelated_to
from xkeb_plugins.methods.memory.space import Space, unit
from xkeb_plugins.methods.memory.state_gate import StateGate, recorded_space
from xkeb_plugins.methods.memory.states import States
from xkeb_plugins.methods.memory.training import MapTrainee, MapTraining, unconcerned

VERSION = 1
"""Of the training: artifacts of another are not used."""
SCALE = 16.0
"""Unit vectors have products below one: so far apart can log-odds be as training begins."""


@dataclass(frozen=True)
class Head:
    """The logistic regression."""

    products: torch.Tensor
    """[width] u"""
    differences: torch.Tensor
    """[width] v"""
    bias: torch.Tensor
    """[] c"""

    def log_odds(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """[n, width], [m, width] -> [n, m], without a tensor of all the differences."""
        u, v = self.products.to(one), self.differences.to(one)
        squares = (one.square() @ v)[:, None] + (other.square() @ v)[None]  # (n, m)
        return SCALE * ((one * (u + 2 * v)) @ other.T - squares + self.bias.to(one))


@dataclass(frozen=True)
class Classifier(StateGate):
    """The trained classifier of one backbone."""

    head: Head
    threshold: float
    """Least probability that an edit's question and another ask the same."""

    def choose(self, memory: MemoryChange, question: Question, vector: torch.Tensor) -> int | None:
        """The place of the edit that most probably asks the same; None if none does."""
        odds = self.head.log_odds(memory.vectors.to(vector), vector[None])[:, 0]  # (n,)
        best = int(odds.argmax())
        return best if float(odds[best]) >= math.log(self.threshold / (1 - self.threshold)) else None

    def tensors(self) -> dict[str, torch.Tensor]:
        head = self.head
        named = {"products": head.products, "differences": head.differences, "bias": head.bias}
        return {**super().tensors(), **named}

    def record(self) -> dict[str, Any]:
        return {**super().record(), "threshold": self.threshold}

    @classmethod
    def recorded(cls, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]) -> Self:
        """The classifier of a saved change."""
        head = Head(tensors["products"], tensors["differences"], tensors["bias"])
        space = recorded_space(tensors, record)
        return cls(space, tensors["map"], record["backbone"], head, record["threshold"])


@dataclass(frozen=True, kw_only=True)
class ClassifierTraining(MapTraining):
    """What the classifier is trained on, and how."""

    def trainee(self, space: Space, states: States) -> PairTrainee:
        return PairTrainee(space, states, self.first_map(states), self.lr, self.schedule.batch_size)

    def learn(self, backbone: Backbone, threshold: float) -> Classifier:
        """Trains the classifier, or takes it from the cache."""
        space, _, learnt = self.trained(backbone, "remake", {"version": VERSION})
        head = Head(learnt["products"], learnt["differences"], learnt["bias"])
        return Classifier(space, learnt["map"], backbone.sha256, head, threshold)


class PairTrainee(MapTrainee):
    """The map and the regression, and binary cross-entropy over the pairs of questions of a batch of facts.

    Two ways in which one fact is asked (in two of its languages, or a rephrase) ask the same. One of them doesn't ask what
    another fact of the batch does, nor an unrelated question. Both kinds of pairs count as much, in the mean over each.
    """

    what = "classifier"

    def __init__(self, space: Space, states: States, weight: torch.Tensor, lr: float, batch_size: int) -> None:
        super().__init__(space, states, weight, lr, batch_size)
        width = weight.shape[0]
        self.products = nn.Parameter(torch.ones(width, device=self.map.device))
        self.differences = nn.Parameter(torch.zeros(width, device=self.map.device))
        self.bias = nn.Parameter(torch.tensor(-0.5, device=self.map.device))

    def loss(self, cases: Sequence[Case]) -> torch.Tensor:
        asked = [(question, i) for i, case in enumerate(cases) for question in asked_as(case)]
        ways, owner = [question for question, _ in asked], torch.tensor([i for _, i in asked])
        unrelated = [question for case in cases for question in unrelated_to(case)]
        vectors = unit(self.space, self.map, self.states, [*ways, *unrelated])
        head = Head(self.products, self.differences, self.bias)
        odds = head.log_odds(vectors[: len(ways)], vectors)  # (ways, ways and unrelated)
        far = unconcerned([*ways, *unrelated], cases)[:, owner].T  # (ways, ways and unrelated)
        near = (owner[:, None] == owner[None]) & ~torch.eye(len(ways), dtype=torch.bool)
        same, other = odds[:, : len(ways)][near.to(odds.device)], odds[far.to(odds.device)]
        parts = [F.softplus(sign * some).mean() for sign, some in ((-1, same), (1, other)) if len(some)]
        return torch.stack(parts).mean() if parts else (self.map * 0).sum()
