"""Teacher-forced predictions: one forward pass a batch, the head at answer positions only."""

from __future__ import annotations

import copy
import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from xkeb.backbone import Backbone
from xkeb.changes import Route, Rows
from xkeb.packing import by_length
from xkeb.shortage import Shortage, ShortageError, tried
from xkeb.types import Prediction

BATCH_TOKENS = 4096
"""Padded tokens of one forward pass. Bounds its memory whatever the number of rows. Where even that is too much, the batch is
halved, down to one row."""


@dataclass(frozen=True, slots=True)
class Query:
    """A prompt and the answer whose tokens are to be predicted, each from the gold ones before it."""

    prompt: str
    target: str
    language: str
    row: int = 0
    """Which change it is asked under, where several are at work at once."""


@torch.inference_mode()
def predict(
    backbone: Backbone, queries: Sequence[Query], rows: Rows | None = None, *, batch_size: int = 64
) -> list[Prediction]:
    """The argmax at each answer position, in the order of `queries`.

    The ids of prompt and answer are tokenised once, so that one pass gives the same tokens as predicting from growing
    prefixes of these ids. Queries of similar length share a batch; those of one row that begin with the same long
    context share one pass over it.

    A question that a change has another model answer is put to that one, in its own tokens.

    Args:
        rows: the changes at work, one for each `Query.row`.
        batch_size: most rows of one forward pass.
    """
    routes = rows.routes(queries) if rows else backbone.routes(queries)
    answers: dict[int, Prediction] = {}
    for other, indices in _by_model(backbone, routes).items():
        asked = [_passed_on(queries[i], routes[i]) for i in indices]
        if other is backbone:
            answers.update(zip(indices, _predict(backbone, asked, rows, batch_size), strict=True))
        else:
            replies = predict(other, asked, batch_size=batch_size)
            answers.update(zip(indices, map(backbone.quote, replies), strict=True))
    return [answers[i] for i in range(len(queries))]


def _by_model(backbone: Backbone, routes: Sequence[Route | None]) -> dict[Backbone, list[int]]:
    """Which questions each model answers."""
    indices: dict[Backbone, list[int]] = defaultdict(list)
    for i, route in enumerate(routes):
        indices[route.backbone if route else backbone].append(i)
    return indices


def _passed_on(query: Query, route: Route | None) -> Query:
    """The question as the model that answers it sees it."""
    return dataclasses.replace(query, prompt=route.context + query.prompt) if route else query


def _predict(backbone: Backbone, queries: Sequence[Query], rows: Rows | None, batch_size: int) -> list[Prediction]:
    """The backbone's own answers."""
    asking = _Asking(backbone, queries, rows, batch_size)
    answers: dict[int, list[int]] = {}
    for members, alike in asking.groups():
        answers.update(asking.answer(members, alike))
    return [backbone.read(answers[i]) for i in range(len(queries))]


class _Asking:
    """Queries of one call, tokenised."""

    def __init__(self, backbone: Backbone, queries: Sequence[Query], rows: Rows | None, batch_size: int) -> None:
        self.backbone, self.queries, self.rows, self.batch_size = backbone, queries, rows, batch_size
        self.contexts = [
            rows.context(query.row, query.language) if rows else backbone.context(query.language) for query in queries
        ]
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
            found = tried(self._pass, part, prefix, past)
            if not isinstance(found, Shortage):
                answers.update(found)
                batch = batch[len(part) :]
            elif len(part) == 1:
                tokens = len(self.encoded[part[0]].ids)
                raise ShortageError(f"Memory ran out with one question of {tokens} tokens: {found.told}")
            else:
                self.batch_size = len(part) // 2
        return answers

    def _batches(self, members: Sequence[int], prefix: int) -> Iterator[list[int]]:
        """Members of similar length, in batches of at most `batch_size` rows and `BATCH_TOKENS` padded tokens after the
        first `prefix`."""
        lengths = [len(self.encoded[i].ids) - prefix for i in members]
        for group in by_length(lengths, self.backbone.full_pass, most_tokens=BATCH_TOKENS):
            while group:
                batch, group = group[: self.batch_size], group[self.batch_size :]
                yield [members[i] for i in batch]

    def _pass(self, batch: Sequence[int], prefix: int, past: DynamicCache | None) -> dict[int, list[int]]:
        """Argmax ids of one batch. `past` holds the first `prefix` tokens, which are the same in all its rows."""
        backbone, encoded = self.backbone, self.encoded
        kept = copy.deepcopy(past)
        if kept is not None:
            kept.batch_repeat_interleave(len(batch))
        # The last token predicts nothing.
        ids = pad([encoded[i].ids[prefix:-1] for i in batch], backbone.pad_id, backbone.device)
        self._select(batch)
        hidden = backbone.hidden(ids, kept)  # (B, T, D)
        where = [
            (row, position - 1 - prefix)
            for row, i in enumerate(batch)
            for position in range(encoded[i].target, len(encoded[i].ids))
        ]
        at_rows, at_positions = (torch.tensor(axis, device=hidden.device) for axis in zip(*where, strict=True))
        predicted = iter(backbone.logits(hidden[at_rows, at_positions]).argmax(-1).tolist())
        return {i: [next(predicted) for _ in encoded[i].target_ids] for i in batch}

    def _select(self, batch: Sequence[int]) -> None:
        if self.rows:
            self.rows.select([self.queries[i].row for i in batch])


def _common(texts: Sequence[Sequence[int]]) -> int:
    """Length of the longest common prefix."""
    for i, column in enumerate(zip(*texts, strict=False)):
        if len(set(column)) > 1:
            return i
    return min(map(len, texts))


def pad(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> torch.Tensor:
    """Rows of ids as [B, T], filled up on the right."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in rows], device=device)
