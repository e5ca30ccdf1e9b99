"""Forward passes over many texts: in batches of similar length, a common beginning once, halved where memory runs out."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from transformers import DynamicCache

from xkeb.models.backbone import Backbone
from xkeb.models.batching import group_by_length, pad
from xkeb.models.interventions import Intervention
from xkeb.models.oom import OutOfMemory, OutOfMemoryError, attempt

T = TypeVar("T")

BATCH_TOKENS = 4096
"""Padded tokens of one forward pass. Bounds its memory whatever the number of rows. Where even that is too much, the batch is
halved, down to one row."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A text to be passed, in tokens."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    """Where the next token is predicted, in ascending order."""
    row: int = 0
    """Which change is at work, where several are."""
    context: str = ""
    """The text before the question, if any. Rows of one change that begin alike share a pass over what they have in common."""


class Passes(ABC, Generic[T]):
    """The passes of some rows under one intervention; a `T` comes of each row."""

    def __init__(
        self, backbone: Backbone, rows: Sequence[TokenRow], intervention: Intervention | None, batch_size: int
    ) -> None:
        """
        Args:
            intervention: the changes at work, one for each `TokenRow.row`.
            batch_size: most rows of one forward pass.
        """
        self.backbone, self.rows, self.intervention = backbone, rows, intervention
        self.batch_size = batch_size

    def run(self) -> list[T]:
        """What comes of each row, in the order of the rows."""
        answers: dict[int, T] = {}
        for members, alike in self._groups():
            answers.update(self._answer(members, alike))
        return [answers[i] for i in range(len(self.rows))]

    @abstractmethod
    def _nothing(self) -> T:
        """What comes of a row without positions, which isn't passed."""

    @abstractmethod
    def _pass(self, batch: Sequence[int], prefix: int, past: DynamicCache | None) -> dict[int, T]:
        """What comes of one batch. `past` holds the first `prefix` tokens, which are the same in all its rows."""

    def _groups(self) -> Iterator[tuple[list[int], bool]]:
        """Rows to be batched together, and whether they begin alike: those of a change with a context do, where it has one, or
        where those that it has begin alike."""
        plain = [i for i, row in enumerate(self.rows) if not row.context]
        if plain:
            yield plain, False
        by_row: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for i, row in enumerate(self.rows):
            if row.context:
                by_row[row.row][row.context].append(i)
        for by_context in by_row.values():
            whole = sorted(i for members in by_context.values() for i in members)
            for members in [whole] if _begin_alike(list(by_context)) else by_context.values():
                yield members, len(members) > 1

    def _answer(self, members: Sequence[int], alike: bool) -> dict[int, T]:
        """What comes of each row. What all begin with is passed once, and kept as keys and values."""
        asked = [i for i in members if self.rows[i].positions]
        answers: dict[int, T] = {i: self._nothing() for i in members if not self.rows[i].positions}
        # The pass after the prefix needs at least the token that predicts the first of the answer.
        prefix = _common([self.rows[i].ids[: self.rows[i].positions[0]] for i in asked]) if alike and asked else 0
        prefix = prefix if self.backbone.alignment.continues else 0
        past = None
        if prefix:
            past = self.backbone.new_cache()
            self.select(asked[:1])
            ids = torch.tensor([self.rows[asked[0]].ids[:prefix]], device=self.backbone.device)
            self.backbone.hidden_at(ids, ids[:, :0], past)
        for batch in self._batches(asked, prefix):
            answers.update(self._halving(batch, prefix, past))
        return answers

    def _halving(self, batch: Sequence[int], prefix: int, past: DynamicCache | None) -> dict[int, T]:
        """Of a batch in one pass, or in as many as memory takes; those to come have no more rows."""
        answers: dict[int, T] = {}
        while batch:
            part = batch[: self.batch_size]
            answered = attempt(self._pass, part, prefix, past)
            if not isinstance(answered, OutOfMemory):
                answers.update(answered)
                batch = batch[len(part) :]
            elif len(part) == 1:
                tokens = len(self.rows[part[0]].ids)
                raise OutOfMemoryError(f"Memory ran out with one question of {tokens} tokens: {answered.message}")
            else:
                self.batch_size = len(part) // 2
        return answers

    def _batches(self, members: Sequence[int], prefix: int) -> Iterator[list[int]]:
        """Members of similar length, in batches of at most `batch_size` rows and `BATCH_TOKENS` padded tokens after the
        first `prefix`."""
        lengths = [len(self.rows[i].ids) + 1 - prefix for i in members]
        for group in group_by_length(lengths, self.backbone.saturating_tokens, most_tokens=BATCH_TOKENS):
            while group:
                batch, group = group[: self.batch_size], group[self.batch_size :]
                yield [members[i] for i in batch]

    def states(self, batch: Sequence[int], prefix: int, past: DynamicCache | None) -> dict[int, torch.Tensor]:
        """Final hidden states of a batch's rows where the next token is predicted: [positions, hidden_size]."""
        rows = [self.rows[i] for i in batch]
        ids = pad([row.ids[prefix:] for row in rows], self.backbone.pad_id, self.backbone.device)
        most = max(len(row.positions) for row in rows)
        columns = [[*row.positions, *[row.positions[-1]] * (most - len(row.positions))] for row in rows]
        at = torch.tensor(columns, device=ids.device) - prefix  # (B, n)
        cache = self.repeated(past, len(batch))
        self.select(batch)
        hidden = self.backbone.hidden_at(ids, at, cache)  # (B, n, D)
        return {i: states[: len(row.positions)] for i, row, states in zip(batch, rows, hidden, strict=True)}

    def repeated(self, past: DynamicCache | None, times: int) -> DynamicCache | None:
        """A copy for so many rows."""
        cache = copy.deepcopy(past)
        if cache is not None:
            cache.batch_repeat_interleave(times)
        return cache

    def select(self, batch: Sequence[int]) -> None:
        """The next pass is of these rows."""
        if self.intervention:
            rows = [self.rows[i] for i in batch]
            self.intervention.select([row.row for row in rows])
            self.intervention.read_questions([row.ids[: row.positions[0] + 1] for row in rows])


def _begin_alike(contexts: Sequence[str]) -> bool:
    """Whether half of the longest context, or more, is the same in all: then one pass over that saves most."""
    return 2 * _common(contexts) >= max(map(len, contexts))


def _common(texts: Sequence[Sequence[int] | str]) -> int:
    """Length of the longest common prefix."""
    for i, column in enumerate(zip(*texts, strict=False)):
        if len(set(column)) > 1:
            return i
    return min(map(len, texts))
