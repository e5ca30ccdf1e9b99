"""How the gate is learned: a question and the same one in another language, or in other words, are near; all else is far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from xkeb.editing.training import Schedule, train
from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.xmem.cutoff import CutOffs, FalsePairs, calibrated
from xkeb_plugins.methods.xmem.facts import Question, all_questions, asked_as, digest_facts, languages_of, unrelated_to
from xkeb_plugins.methods.xmem.gate import Gate, Space, unit
from xkeb_plugins.methods.xmem.states import States, cached_states

VERSION = 1
"""Of the training: artifacts of another are not used."""


@dataclass(frozen=True)
class GateTraining:
    """What the gate is trained on, and how."""

    facts: Sequence[Case]
    held_out: Sequence[Case]
    """Facts that say when to stop, and where the cut-offs are."""
    layer: int
    width: int
    lr: float
    temperature: float
    unrelated: float
    """Share of unrelated questions that a memory may accept."""
    others: float
    """Share of questions about other facts that a memory may accept."""
    schedule: Schedule

    def questions(self) -> list[Question]:
        return all_questions([*self.facts, *self.held_out])

    def space(self, states: States) -> Space:
        """The means are over the questions of the facts in each language, not over the unrelated ones."""
        asked = [question for case in self.facts for question in asked_as(case)]
        return Space.of(self.layer, states, asked)

    def trainee(self, space: Space, states: States) -> GateTrainee:
        generator = torch.Generator().manual_seed(self.schedule.seed)
        weight = torch.randn(self.width, states.matrix.shape[1], generator=generator) / states.matrix.shape[1] ** 0.5
        return GateTrainee(space, states, weight, self.lr, self.temperature, self.schedule.batch_size)

    def learn(self, backbone: Backbone) -> Gate:
        """Trains the gate, or takes it from the cache."""
        texts = list(dict.fromkeys(question.text for question in self.questions()))
        states = cached_states(backbone, self.layer, texts)
        space = self.space(states)
        trainee = self.trainee(space, states)
        # A question is read bare, so how questions are put to the model is no part of the key.
        key: dict[str, Any] = {
            "method": "xmem",
            "version": VERSION,
            "backbone": backbone.sha256,
            "dtype": str(backbone.dtype),
            "facts": digest_facts(self.facts),
            "held_out": digest_facts(self.held_out),
            "layer": self.layer,
            "width": self.width,
            "lr": self.lr,
            "temperature": self.temperature,
        }
        weight = train("xmem", key, trainee, self.facts, self.held_out, self.schedule)["map"].to(backbone.device)
        return Gate(space, weight, self.cutoffs(space, weight, states), backbone.sha256)

    @torch.no_grad()
    def cutoffs(self, space: Space, weight: torch.Tensor, states: States) -> CutOffs:
        """Of a trained map, from the facts that it was not trained on."""
        pairs: dict[bool, list[FalsePairs]] = {True: [], False: []}
        languages = sorted({code for case in self.held_out for code in languages_of(case)})
        sides = {code: [case for case in self.held_out if code in languages_of(case)] for code in languages}
        kinds = ((asked_as, self.others), (unrelated_to, self.unrelated))
        for fact_language, facts in sides.items():
            keys = unit(
                space, weight, states, [Question(fact_language, case.edit.questions[fact_language]) for case in facts]
            )
            for questions_of, rate in kinds:
                for asked_language in languages:
                    every = [question for case in self.held_out for question in questions_of(case)]
                    asked = [question for question in every if question.language == asked_language]
                    if asked:
                        vectors = unit(space, weight, states, asked)
                        counted = _unconcerned(asked, facts)
                        pairs[fact_language == asked_language].append(
                            FalsePairs(vectors @ keys.T, counted.to(vectors.device), rate)
                        )
        return CutOffs(calibrated(pairs[True]), calibrated(pairs[False]))


class GateTrainee(nn.Module):
    """The map, and InfoNCE over a batch of facts.

    The ways in which a fact is asked (in each of its languages, and its rephrases) are near to one another and far from
    those of the batch's other facts and from all the batch's unrelated questions:

        -log(exp(s(a, b) / t) / (exp(s(a, b) / t) + sum over x of exp(s(a, x) / t)))

    in the mean over all pairs (a, b) of ways in which one fact is asked, s the cosine and t the temperature.
    """

    what = "gate"

    def __init__(
        self, space: Space, states: States, weight: torch.Tensor, lr: float, temperature: float, batch_size: int
    ) -> None:
        super().__init__()
        self.space, self.states, self.temperature, self.batch_size = space, states, temperature, batch_size
        self.map = nn.Parameter(weight.to(states.matrix.device))
        self.optimizers = [torch.optim.Adam([self.map], lr=lr)]

    @property
    def module(self) -> nn.Module:
        return self

    def backward(self, cases: Sequence[Case]) -> Mapping[str, float]:
        loss = self.loss(cases)
        loss.backward()
        return {"loss": float(loss.detach())}

    def validate(self, cases: Sequence[Case]) -> Mapping[str, float]:
        """In batches as in training, since the loss depends on how many others there are."""
        size = self.batch_size
        batches = [cases[start : start + size] for start in range(0, len(cases), size)]
        return {"loss": sum(float(self.loss(batch)) * len(batch) / len(cases) for batch in batches)}

    def loss(self, cases: Sequence[Case]) -> torch.Tensor:
        asked = [(question, i) for i, case in enumerate(cases) for question in asked_as(case)]
        ways, owner = [question for question, _ in asked], torch.tensor([i for _, i in asked])
        unrelated = [question for case in cases for question in unrelated_to(case)]
        vectors = unit(self.space, self.map, self.states, [*ways, *unrelated])
        cosines = vectors[: len(ways)] @ vectors.T / self.temperature  # (ways, ways and unrelated)
        far = _unconcerned([*ways, *unrelated], cases)[:, owner].T  # (ways, ways and unrelated)
        near = (owner[:, None] == owner[None]) & ~torch.eye(len(ways), dtype=torch.bool)
        rows, columns = near.nonzero(as_tuple=True)
        if not len(rows):
            return (self.map * 0).sum()
        # Far from nothing: a batch of one fact without an unrelated question.
        against = cosines.masked_fill(~far.to(cosines.device), -1e4).logsumexp(1)  # (ways,)
        return F.softplus(against[rows] - cosines[rows, columns]).mean()


def _unconcerned(questions: Sequence[Question], facts: Sequence[Case]) -> torch.Tensor:
    """[questions, facts] whether a fact is not asked so, in any of its languages or words."""
    places: dict[str, list[int]] = {}
    for i, case in enumerate(facts):
        for question in asked_as(case):
            places.setdefault(question.text, []).append(i)
    unconcerned = torch.ones(len(questions), len(facts), dtype=torch.bool)
    for row, question in enumerate(questions):
        unconcerned[row, places.get(question.text, [])] = False
    return unconcerned
