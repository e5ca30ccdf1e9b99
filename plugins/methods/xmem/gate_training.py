"""How the gate is learned: a question and the same one in another language, or in other words, are near; all else is far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.memory.facts import Question, asked_as, languages_of, unrelated_to
from xkeb_plugins.methods.memory.space import Space, unit
from xkeb_plugins.methods.memory.states import States
from xkeb_plugins.methods.memory.training import MapTrainee, MapTraining, unconcerned
from xkeb_plugins.methods.xmem.cutoff import STAND_IN, CutOffs, FalsePairs, calibrated
from xkeb_plugins.methods.xmem.gate import Gate

VERSION = 1
"""Of the training: artifacts of another are not used."""


@dataclass(frozen=True, kw_only=True)
class GateTraining(MapTraining):
    """What the gate is trained on, and how. The facts that say when to stop also say where the cut-offs are."""

    temperature: float
    unrelated: float
    """Share of unrelated questions that a memory may accept."""
    others: float
    """Share of questions about other facts that a memory may accept."""

    def trainee(self, space: Space, states: States) -> GateTrainee:
        size = self.schedule.batch_size
        return GateTrainee(space, states, self.first_map(states), self.lr, size, self.temperature)

    def learn(self, backbone: Backbone) -> Gate:
        """Trains the gate, or takes it from the cache."""
        key: dict[str, Any] = {"version": VERSION, "temperature": self.temperature}
        space, states, learnt = self.trained(backbone, "xmem", key)
        weight = learnt["map"]
        return Gate(space, weight, backbone.sha256, self.cutoffs(space, weight, states))

    @torch.no_grad()
    def cutoffs(self, space: Space, weight: torch.Tensor, states: States) -> CutOffs:
        """Of a trained map, from the facts that it was not trained on."""
        pairs: dict[bool, list[FalsePairs]] = {True: [], False: []}
        languages = sorted({code for case in self.held_out for code in languages_of(case)})
        facts = {code: [case for case in self.held_out if code in languages_of(case)] for code in languages}

        def against(code: str, asked: Sequence[Question], rate: float, *, of_one: bool = False) -> FalsePairs:
            own = [Question(code, case.edit.questions[code]) for case in facts[code]]
            keys, vectors = unit(space, weight, states, own), unit(space, weight, states, asked)
            return FalsePairs(vectors @ keys.T, unconcerned(asked, facts[code]).to(vectors.device), rate, of_one)

        about_facts, unrelated = (_by_language(of, self.held_out) for of in (asked_as, unrelated_to))
        for code in languages:
            for asked_language, asked in about_facts.items():
                same = code == asked_language
                pairs[same].append(against(code, asked, self.others))
                if not unrelated:
                    pairs[same].append(against(code, asked, STAND_IN * self.unrelated, of_one=True))
            for asked_language, asked in unrelated.items():
                # In a language that no fact is in, they stand for the unrelated questions of any language.
                for same in {code == asked_language} if asked_language in languages else {True, False}:
                    pairs[same].append(against(code, asked, self.unrelated))
        return CutOffs(calibrated(pairs[True]), calibrated(pairs[False]))


def _by_language(questions_of: Callable[[Case], list[Question]], cases: Sequence[Case]) -> dict[str, list[Question]]:
    found: dict[str, list[Question]] = {}
    for case in cases:
        for question in questions_of(case):
            found.setdefault(question.language, []).append(question)
    return found


class GateTrainee(MapTrainee):
    """The map, and InfoNCE over a batch of facts.

    The ways in which a fact is asked (in each of its languages, and its rephrases) are near to one another and far from
    those of the batch's other facts and from all the batch's unrelated questions:

        -log(exp(s(a, b) / t) / (exp(s(a, b) / t) + sum over x of exp(s(a, x) / t)))

    in the mean over all pairs (a, b) of ways in which one fact is asked, s the cosine and t the temperature.
    """

    what = "gate"

    def __init__(
        self, space: Space, states: States, weight: torch.Tensor, lr: float, batch_size: int, temperature: float
    ) -> None:
        super().__init__(space, states, weight, lr, batch_size)
        self.temperature = temperature

    def loss(self, cases: Sequence[Case]) -> torch.Tensor:
        asked = [(question, i) for i, case in enumerate(cases) for question in asked_as(case)]
        ways, owner = [question for question, _ in asked], torch.tensor([i for _, i in asked])
        unrelated = [question for case in cases for question in unrelated_to(case)]
        vectors = unit(self.space, self.map, self.states, [*ways, *unrelated])
        cosines = vectors[: len(ways)] @ vectors.T / self.temperature  # (ways, ways and unrelated)
        far = unconcerned([*ways, *unrelated], cases)[:, owner].T  # (ways, ways and unrelated)
        near = (owner[:, None] == owner[None]) & ~torch.eye(len(ways), dtype=torch.bool)
        rows, columns = near.nonzero(as_tuple=True)
        if not len(rows):
            return (self.map * 0).sum()
        # Far from nothing: a batch of one fact without an unrelated question.
        against = cosines.masked_fill(~far.to(cosines.device), -1e4).logsumexp(1)  # (ways,)
        return F.softplus(against[rows] - cosines[rows, columns]).mean()
