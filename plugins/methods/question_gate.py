"""Changes that decide on each question whether they answer it, and add to what leaves one module where they do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch

from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Intervention

NONE = -1
"""In place of the number of what answers: nothing does, and the model is as it was."""
Ids = tuple[int, ...]


class GatedChange(ABC):
    """No weight is touched: where a question is in scope, something is added to what leaves a module, at all tokens."""

    path: str
    """Of the module."""

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        """Inside, the gate is at work in every pass."""
        with QuestionGate([self]).installed(backbone):
            yield

    @classmethod
    def batched(cls, backbone: Backbone, changes: Sequence[Self]) -> Intervention | None:
        """None where they are of different modules."""
        return QuestionGate(changes) if len({change.path for change in changes}) == 1 else None

    @abstractmethod
    def pick(self, inputs: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The number of what answers each text, `NONE` where nothing does, and what it adds.

        Args:
            inputs: [B, T, d_in] of the module.
            mask: [B, T] True at the tokens that count.

        Returns:
            [B], and [B, T, d_out].
        """

    @abstractmethod
    def add(self, choice: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """What is added where it is known what answers, [B, T, d_out]; nothing where that is `NONE`."""


class QuestionGate(Intervention):
    """A question is decided on once, where its text begins, and all that follows it takes the same way.

    The suite says where a question ends. In a pass that isn't its own, all tokens of a row count; one that goes on with keys
    and values of an earlier pass takes that one's way.
    """

    def __init__(self, changes: Sequence[GatedChange]) -> None:
        super().__init__()
        self.changes = changes
        self.decided: dict[tuple[int, Ids], torch.Tensor] = {}
        """By the number of a change and the ids of a question, what answers it."""
        self._questions: list[Ids] | None = None
        self._mask: torch.Tensor | None = None
        self._goes_on = False
        self._last = torch.zeros(0, dtype=torch.long)

    def read_questions(self, questions: Sequence[Sequence[int]]) -> None:
        self._questions = [tuple(question) for question in questions]

    def hooks(self, backbone: Backbone) -> Iterator[Any]:
        decoder = backbone.module(backbone.layout.decoder)
        yield decoder.register_forward_pre_hook(self._begin, with_kwargs=True)
        yield decoder.register_forward_hook(self._end)
        yield backbone.module(self.changes[0].path).register_forward_hook(self._route)

    def _begin(self, _: Any, __: Any, kwargs: dict[str, Any]) -> None:
        past = kwargs.get("past_key_values")
        self._goes_on = past is not None and past.get_seq_length() > 0
        self._mask = kwargs.get("attention_mask")

    def _end(self, *_: Any) -> None:
        self._questions = self._mask = None

    def _route(self, _: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        entering = inputs[0]
        size = len(entering)
        selected = self.selected if len(self.selected) == size else [self.selected[0]] * size
        questions = self._questions if self._questions is not None and len(self._questions) == size else None
        known = self._known(selected, questions, size) if self._goes_on else None
        mask = self._counting(entering, questions)
        choices, added = torch.full((size,), NONE, device=entering.device), torch.zeros_like(output)
        for number in sorted(set(selected)):
            change = self.changes[number]
            rows = [row for row, one in enumerate(selected) if one == number]
            if known is None:
                choices[rows], added[rows] = change.pick(entering[rows], mask[rows])
            else:
                choices[rows] = known[rows].to(choices.device)
                added[rows] = change.add(choices[rows], entering[rows])
        self._last = choices
        if questions is not None:
            self.decided.update(zip(zip(selected, questions, strict=True), choices, strict=True))
        return output + added

    def _known(self, selected: Sequence[int], questions: list[Ids] | None, size: int) -> torch.Tensor | None:
        """What was decided where these texts began: [B]; None where nobody knows."""
        if questions is None:
            return self._last if len(self._last) == size else None
        before = [self.decided.get(key) for key in zip(selected, questions, strict=True)]
        there = [one for one in before if one is not None]
        return torch.stack(there) if len(there) == size else None

    def _counting(self, entering: torch.Tensor, questions: list[Ids] | None) -> torch.Tensor:
        """[B, T] True at the tokens that a decision is made by: those of the question, as far as it is known; no padding."""
        size, width = entering.shape[:2]
        mask = torch.ones(size, width, dtype=torch.bool, device=entering.device)
        given = self._mask
        if isinstance(given, torch.Tensor) and given.ndim == 2 and len(given) == size and given.shape[1] >= width:
            mask = given[:, -width:].to(mask.device).bool()
        if questions is not None:
            lengths = torch.tensor([len(question) for question in questions], device=mask.device)
            mask = mask & (mask.cumsum(1) <= lengths[:, None])
        return mask
