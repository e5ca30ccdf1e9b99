"""Teacher-forced predictions: one forward pass a batch, the head at answer positions only."""

from __future__ import annotations

import copy
import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence

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


@torch.inference_mode()
def predict(
    backbone: Backbone, queries: Sequence[Query], intervention: Intervention | None = None, *, batch_size: int = 64
) -> list[Prediction]:
    """The argmax at each answer position, in the order of `queries`.

    The ids of prompt and answer are tokenised once, so that one pass gives the same tokens as predicting from growing
    prefixes of these ids. Queries of similar length share a batch; those of one row that begin with the same long
    context share one pass over it.

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
            answers.update(zip(indices, _predict(backbone, passed, intervention, batch_size), strict=True))
        else:
            replies = predict(other, passed, batch_size=batch_size)
            answers.update(zip(indices, map(backbone.retokenize, replies), strict=True))
    return [answers[i] for i in range(len(queries))]


def _by_model(backbone: Backbone, delegates: Sequence[Delegate | None]) -> dict[Backbone, list[int]]:
    """Which questions each model answers."""
    indices: dict[Backbone, list[int]] = defaultdict(list)
    for i, delegate in enumerate(delegates):
        indices[delegate.backbone if delegate else backbone].append(i)
    return indices


def _pass_on(query: Query, delegate: Delegate | None) -> Query:
    """The question as the model that answers it sees it."""
    return dataclasses.replace(query, prompt=delegate.context + query.prompt) if delegate else query


def _predict(
    backbone: Backbone, queries: Sequence[Query], intervention: Intervention | None, batch_size: int
) -> list[Prediction]:
    """The backbone's own answers."""
    batches = _TokenizedQueries(backbone, queries, intervention, batch_size)
    answers: dict[int, list[int]] = {}
    for members, alike in batches.groups():
        answers.update(batches.answer(members, alike))
    return [backbone.decode(answers[i]) for i in range(len(queries))]


class _TokenizedQueries:
    """Queries of one call, tokenised."""

    def __init__(
        self, backbone: Backbone, queries: Sequence[Query], intervention: Intervention | None, batch_size: int
    ) -> None:
        self.backbone, self.queries, self.intervention = backbone, queries, intervention
        self.batch_size = batch_size
        self.contexts = [intervention.context(query.row, query.language) if intervention else "" for query in queries]
        self.encoded = [
            backbone.encode(context + query.prompt, query.target, query.language)
            for context, query in zip(self.contexts, queries, strict=True)
        ]

    def groups(self) -> Iterator[tuple[list[int], bool]]:
        """Queries to be batched together, and whether they begin alike: those of a row with a context do."""
        by_row: dict[int | None, list[int]] = defaultdict(list)
        for i, (query, context) in enumerate(zip(self.queries, self.contexts, strict=True)):
            by_row[query.row if context else None].append(i)
        for row, members in by_row.items():
            yield members, row is not None and len(members) > 1

    def answer(self, members: Sequence[int], alike: bool) -> dict[int, list[int]]:
        """Argmax ids of each query. What all begin with is passed once, and kept as keys and values."""
        # The pass after the prefix needs at least the token that predicts the first of the answer.
        prefix = _common([self.encoded[i].ids[: self.encoded[i].target - 1] for i in members]) if alike else 0
        past = None
        if prefix:
            past = DynamicCache(config=self.backbone.model.config)
            self._select(members[:1])
            self.backbone.hidden(
                torch.tensor([self.encoded[members[0]].ids[:prefix]], device=self.backbone.device), past
            )
        answers: dict[int, list[int]] = {}
        for batch in self._batches(members, prefix):
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
                tokens = len(self.encoded[part[0]].ids)
                raise OutOfMemoryError(f"Memory ran out with one question of {tokens} tokens: {answered.message}")
            else:
                self.batch_size = len(part) // 2
        return answers

    def _batches(self, members: Sequence[int], prefix: int) -> Iterator[list[int]]:
        """Members of similar length, in batches of at most `batch_size` rows and `BATCH_TOKENS` padded tokens after the
        first `prefix`."""
        lengths = [len(self.encoded[i].ids) - prefix for i in members]
        for group in group_by_length(lengths, self.backbone.saturating_tokens, most_tokens=BATCH_TOKENS):
            while group:
                batch, group = group[: self.batch_size], group[self.batch_size :]
                yield [members[i] for i in batch]

    def _pass(self, batch: Sequence[int], prefix: int, past: DynamicCache | None) -> dict[int, list[int]]:
        """Argmax ids of one batch. `past` holds the first `prefix` tokens, which are the same in all its rows."""
        backbone, encoded = self.backbone, self.encoded
        cache = copy.deepcopy(past)
        if cache is not None:
            cache.batch_repeat_interleave(len(batch))
        # The last token predicts nothing.
        ids = pad([encoded[i].ids[prefix:-1] for i in batch], backbone.pad_id, backbone.device)
        self._select(batch)
        hidden = backbone.hidden(ids, cache)  # (B, T, D)
        where = [
            (row, position - 1 - prefix)
            for row, i in enumerate(batch)
            for position in range(encoded[i].target, len(encoded[i].ids))
        ]
        at_rows, at_positions = (torch.tensor(axis, device=hidden.device) for axis in zip(*where, strict=True))
        predicted = iter(backbone.logits(hidden[at_rows, at_positions]).argmax(-1).tolist())
        return {i: [next(predicted) for _ in encoded[i].target_ids] for i in batch}

    def _select(self, batch: Sequence[int]) -> None:
        if self.intervention:
            self.intervention.select([self.queries[i].row for i in batch])


def _common(texts: Sequence[Sequence[int]]) -> int:
    """Length of the longest common prefix."""
    for i, column in enumerate(zip(*texts, strict=False)):
        if len(set(column)) > 1:
            return i
    return min(map(len, texts))
