"""Predictions at given positions: one forward pass a batch, the head at those positions only."""

from __future__ import annotations

import copy
import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from transformers import DynamicCache

from xkeb.models.backbone import Backbone
from xkeb.models.batching import group_by_length, pad
from xkeb.models.interventions import Delegate, Intervention, installed_intervention
from xkeb.models.oom import OutOfMemory, OutOfMemoryError, attempt
from xkeb.types import Prediction, Query

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
    has_context: bool = False
    """Whether it begins with a long text that others of this `row` begin with, too."""


class AnswerStyle(Protocol):
    """How a question becomes texts to pass, and predicted ids an answer."""

    def rows(self, backbone: Backbone, query: Query, context: str) -> Sequence[TokenRow]:
        """The texts of one question.

        Args:
            context: what a change puts before the prompt.
        """
        ...

    def answer(self, backbone: Backbone, query: Query, predicted: Sequence[Sequence[int]]) -> Prediction:
        """The answer, from the ids predicted in each row."""
        ...

    def passed_on(self, backbone: Backbone, reply: Prediction) -> Prediction:
        """Another model's answer, its text counted as the backbone's own are."""
        ...


class TeacherForcing:
    """The ids of prompt and answer are tokenised once, so that one pass gives the same tokens as predicting from growing
    prefixes of these ids."""

    def rows(self, backbone: Backbone, query: Query, context: str) -> Sequence[TokenRow]:
        encoded = backbone.encode(query.prompt, query.target, query.language, context=context)
        last = len(encoded.ids) - 1  # the last token predicts nothing
        return [TokenRow(encoded.ids[:-1], tuple(range(encoded.target - 1, last)), query.row, bool(context))]

    def answer(self, backbone: Backbone, query: Query, predicted: Sequence[Sequence[int]]) -> Prediction:
        return backbone.decode(predicted[0])

    def passed_on(self, backbone: Backbone, reply: Prediction) -> Prediction:
        return backbone.retokenize(reply)


TEACHER_FORCING = TeacherForcing()


@torch.inference_mode()
def predict(
    backbone: Backbone,
    queries: Sequence[Query],
    intervention: Intervention | None = None,
    *,
    batch_size: int = 64,
    style: AnswerStyle = TEACHER_FORCING,
) -> list[Prediction]:
    """The argmax at each answer position, in the order of `queries`.

    Queries of similar length share a batch; those of one row that begin with the same long context share one pass over it.

    A question that a change has another model answer is put to that one, in its own tokens.

    Args:
        intervention: the changes at work, one for each `Query.row`; without it, the one that is installed, if any.
        batch_size: most rows of one forward pass.
    """
    if intervention is None and (intervention := installed_intervention(backbone)) is not None:
        queries = [dataclasses.replace(query, row=0) for query in queries]
    delegates = intervention.delegates(queries) if intervention else [None] * len(queries)
    answers: dict[int, Prediction] = {}
    for other, indices in _by_model(backbone, delegates).items():
        passed = [_pass_on(queries[i], delegates[i]) for i in indices]
        if other is backbone:
            replies = _answer(backbone, passed, intervention, batch_size, style)
            answers.update(zip(indices, replies, strict=True))
        else:
            replies = predict(other, passed, batch_size=batch_size, style=style)
            answers.update((i, style.passed_on(backbone, reply)) for i, reply in zip(indices, replies, strict=True))
    return [answers[i] for i in range(len(queries))]


def _answer(
    backbone: Backbone,
    queries: Sequence[Query],
    intervention: Intervention | None,
    batch_size: int,
    style: AnswerStyle,
) -> list[Prediction]:
    """The backbone's own answers."""
    contexts = [query.context or _context(intervention, query) for query in queries]
    rows = [style.rows(backbone, query, context) for query, context in zip(queries, contexts, strict=True)]
    flat = [row for own in rows for row in own]
    predicted = iter(predict_rows(backbone, flat, intervention, batch_size=batch_size))
    return [
        style.answer(backbone, query, [next(predicted) for _ in own]) for query, own in zip(queries, rows, strict=True)
    ]


def _context(intervention: Intervention | None, query: Query) -> str:
    return intervention.context(query.row, query.language) if intervention else ""


def _by_model(backbone: Backbone, delegates: Sequence[Delegate | None]) -> dict[Backbone, list[int]]:
    """Which questions each model answers."""
    indices: dict[Backbone, list[int]] = defaultdict(list)
    for i, delegate in enumerate(delegates):
        indices[delegate.backbone if delegate else backbone].append(i)
    return indices


def _pass_on(query: Query, delegate: Delegate | None) -> Query:
    """The question as the model that answers it sees it."""
    return dataclasses.replace(query, context=delegate.context) if delegate else query


@torch.inference_mode()
def predict_rows(
    backbone: Backbone, rows: Sequence[TokenRow], intervention: Intervention | None = None, *, batch_size: int = 64
) -> list[list[int]]:
    """The argmax ids at each row's positions.

    Args:
        intervention: the changes at work, one for each `TokenRow.row`.
        batch_size: most rows of one forward pass.
    """
    passes = _Passes(backbone, rows, intervention, batch_size)
    predicted: dict[int, list[int]] = {}
    for members, alike in passes.groups():
        predicted.update(passes.answer(members, alike))
    return [predicted[i] for i in range(len(rows))]


class _Passes:
    """The rows of one call."""

    def __init__(
        self, backbone: Backbone, rows: Sequence[TokenRow], intervention: Intervention | None, batch_size: int
    ) -> None:
        self.backbone, self.rows, self.intervention = backbone, rows, intervention
        self.batch_size = batch_size

    def groups(self) -> Iterator[tuple[list[int], bool]]:
        """Rows to be batched together, and whether they begin alike: those of a change with a context do."""
        by_row: dict[int | None, list[int]] = defaultdict(list)
        for i, row in enumerate(self.rows):
            by_row[row.row if row.has_context else None].append(i)
        for change, members in by_row.items():
            yield members, change is not None and len(members) > 1

    def answer(self, members: Sequence[int], alike: bool) -> dict[int, list[int]]:
        """Argmax ids of each row. What all begin with is passed once, and kept as keys and values."""
        asked = [i for i in members if self.rows[i].positions]
        answers: dict[int, list[int]] = {i: [] for i in members}
        # The pass after the prefix needs at least the token that predicts the first of the answer.
        prefix = _common([self.rows[i].ids[: self.rows[i].positions[0]] for i in asked]) if alike and asked else 0
        past = None
        if prefix:
            past = DynamicCache(config=self.backbone.model.config)
            self._select(asked[:1])
            self.backbone.hidden(torch.tensor([self.rows[asked[0]].ids[:prefix]], device=self.backbone.device), past)
        for batch in self._batches(asked, prefix):
            answers.update(self._halving(batch, prefix, past))
        return answers

    def _halving(self, batch: Sequence[int], prefix: int, past: DynamicCache | None) -> dict[int, list[int]]:
        """Of a batch in one pass, or in as many as memory takes; those to come have no more rows."""
        answers: dict[int, list[int]] = {}
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

    def _pass(self, batch: Sequence[int], prefix: int, past: DynamicCache | None) -> dict[int, list[int]]:
        """Argmax ids of one batch. `past` holds the first `prefix` tokens, which are the same in all its rows."""
        backbone, rows = self.backbone, self.rows
        cache = copy.deepcopy(past)
        if cache is not None:
            cache.batch_repeat_interleave(len(batch))
        ids = pad([rows[i].ids[prefix:] for i in batch], backbone.pad_id, backbone.device)
        self._select(batch)
        hidden = backbone.hidden(ids, cache)  # (B, T, D)
        where = [(row, position - prefix) for row, i in enumerate(batch) for position in rows[i].positions]
        at_rows, at_positions = (torch.tensor(axis, device=hidden.device) for axis in zip(*where, strict=True))
        predicted = iter(backbone.logits(hidden[at_rows, at_positions]).argmax(-1).tolist())
        return {i: [next(predicted) for _ in rows[i].positions] for i in batch}

    def _select(self, batch: Sequence[int]) -> None:
        if self.intervention:
            self.intervention.select([self.rows[i].row for i in batch])


def _common(texts: Sequence[Sequence[int]]) -> int:
    """Length of the longest common prefix."""
    for i, column in enumerate(zip(*texts, strict=False)):
        if len(set(column)) > 1:
            return i
    return min(map(len, texts))
