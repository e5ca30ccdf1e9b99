"""From which odds on a fact counts as confirmed: chosen on training facts.

A small model that was never taught to follow instructions says yes to almost everything. So a fact counts as confirmed from the
log-odds c on that tell best, among training facts, the questions about a fact from others. It has the largest

    share of questions about the fact with log-odds >= c, minus share of other questions with log-odds >= c

(Youden's index). In a memory of one edit, every other question meets that edit, whatever it is. In a memory of more, it meets
the nearest ones, and the likeliest of these decides. A question in the edit's language and one in another have a cut-off each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from xkeb.models.backbone import Backbone
from xkeb.types import Case, PromptStyle
from xkeb_plugins.methods.encoders import embed
from xkeb_plugins.methods.memory.facts import Question, asked_as, said, unrelated_to
from xkeb_plugins.methods.memory.training import unconcerned
from xkeb_plugins.methods.scr.confirm import Pair, log_odds


@dataclass(frozen=True, slots=True)
class CutOffs:
    """Least log-odds of a confirmed fact."""

    same: tuple[float, float]
    """For a question in the edit's language: in a memory of one edit, and in one of more."""
    other: tuple[float, float]
    """For a question in another language."""

    def of(self, n: int, *, same: bool) -> float:
        """The cut-off in a memory of n edits."""
        return (self.same if same else self.other)[n > 1]

    @classmethod
    def of_tensor(cls, tensor: torch.Tensor) -> Self:
        """From [2, 2], as `tensor` gives it."""
        same, other = tensor.tolist()
        return cls((same[0], same[1]), (other[0], other[1]))

    def tensor(self) -> torch.Tensor:
        """[2, 2] the same language and another, a memory of one edit and of more."""
        return torch.tensor([self.same, self.other], dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class Trial:
    """A question, and the facts that the model is asked about for it."""

    question: Question
    language: str
    """Of the facts."""
    own: int | None
    """The fact that it is about, if any."""
    one: int | None
    """A fact that it is not about, as an edit alone in a memory; None where it is about all."""
    nearest: tuple[int, ...]
    """The nearest ones that it is not about, as edits in a memory of many."""

    @property
    def met(self) -> set[int]:
        """All of these facts."""
        return {place for place in (self.own, self.one, *self.nearest) if place is not None}


def trials(cases: Sequence[Case], similarities: torch.Tensor, k: int, seed: int) -> list[Trial]:
    """Every question of some facts: those about a fact, and the unrelated ones.

    Args:
        similarities: [questions, facts] of each of `questions_of` with each fact.
        k: nearest facts that the model is asked about.
        seed: of the fact that a question about another one meets alone. An unrelated one meets the fact that it stands beside.
    """
    asked = [(question, i, about) for i, case in enumerate(cases) for question, about in _asked(case)]
    far = unconcerned([question for question, _, _ in asked], cases)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for (question, i, about), other, row in zip(asked, far, similarities, strict=True):
        places = other.nonzero().flatten().tolist()
        drawn = places[int(torch.randint(len(places), (), generator=generator))] if places else None
        nearest = row.masked_fill(~other, -torch.inf).topk(min(k, len(places))).indices.tolist()
        one = i if not about and other[i] else drawn
        found.append(Trial(question, cases[i].edit.language, i if about else None, one, tuple(nearest)))
    return found


def questions_of(cases: Sequence[Case]) -> list[str]:
    """The texts of the questions of `trials`, in their order."""
    return [question.text for case in cases for question, _ in _asked(case)]


def _asked(case: Case) -> list[tuple[Question, bool]]:
    """The questions of a fact, and whether they are about it."""
    return [*((question, True) for question in asked_as(case)), *((question, False) for question in unrelated_to(case))]


def calibrated(
    backbone: Backbone, style: PromptStyle, encoder: str, cases: Sequence[Case], k: int, seed: int
) -> CutOffs:
    """The cut-offs that tell best which questions are about some facts.

    Where no question is in another language than its fact, that language's cut-offs are those of the same one.
    """
    facts = [said(case.edit) for case in cases]
    similarities = embed(encoder, questions_of(cases), backbone.device) @ embed(encoder, facts, backbone.device).T
    every = trials(cases, similarities, k, seed)
    pairs = list(dict.fromkeys(Pair(facts[place], trial.question.text) for trial in every for place in trial.met))
    odds = dict(zip(pairs, log_odds(backbone, style, pairs), strict=True))
    found: dict[bool, tuple[float, float]] = {}
    for same in (True, False):
        some = [trial for trial in every if (trial.question.language == trial.language) == same]
        word = [{place: odds[Pair(facts[place], trial.question.text)] for place in trial.met} for trial in some]
        inside = [own[trial.own] for trial, own in zip(some, word, strict=True) if trial.own is not None]
        alone = [own[trial.one] for trial, own in zip(some, word, strict=True) if trial.one is not None]
        among = [max(own[i] for i in trial.nearest) for trial, own in zip(some, word, strict=True) if trial.nearest]
        found[same] = (best_cutoff(inside, alone), best_cutoff(inside, among))
        if not inside:
            found[same] = found[True]
    return CutOffs(found[True], found[False])


def best_cutoff(inside: Sequence[float], outside: Sequence[float]) -> float:
    """The one of `inside` that tells best both apart; of equally good ones, the largest. 0 where there are none inside."""
    if not inside:
        return 0.0

    def index(cutoff: float) -> float:
        shares = [sum(odds >= cutoff for odds in some) / (len(some) or 1) for some in (inside, outside)]
        return shares[0] - shares[1]

    return max(inside, key=lambda cutoff: (round(index(cutoff), 9), cutoff))
