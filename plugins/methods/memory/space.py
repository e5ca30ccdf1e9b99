"""Where questions become comparable, in whatever language they are: what is read of them, normalized by language.

A question is the mean state of its tokens (`xkeb_plugins.methods.memory.states`) minus the mean over the training facts'
questions in its language, divided by their standard deviations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F

from xkeb.errors import RequestError
from xkeb_plugins.methods.memory.facts import Question
from xkeb_plugins.methods.memory.states import States

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


def unit(space: Space, weight: torch.Tensor, states: States, questions: Sequence[Question]) -> torch.Tensor:
    """[n, width] the unit vectors of some questions whose states are known; `weight` is [width, hidden_size]."""
    normalized = space.normalized(states.of([question.text for question in questions]), questions)
    return F.normalize(normalized @ weight.to(normalized).T, dim=-1)
