"""Teacher-forced predictions: one forward pass a batch, the head at answer positions only."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from xkeb.backbone import Backbone
from xkeb.changes import Rows
from xkeb.encoding import Encoded
from xkeb.types import Prediction

BATCH_TOKENS = 4096
"""Padded tokens of one forward pass. Bounds its memory whatever the number of rows."""


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

    Args:
        rows: the changes at work, one for each `Query.row`.
        batch_size: most rows of one forward pass.
    """
    encoded, shared = [], defaultdict(list)
    for i, query in enumerate(queries):
        context = rows.context(query.row, query.language) if rows else backbone.context(query.language)
        encoded.append(backbone.encode(context + query.prompt, query.target, query.language))
        shared[query.row if context else None].append(i)
    answers: dict[int, list[int]] = {}
    for row, members in shared.items():
        if row is None:
            for batch in _batches(encoded, members, batch_size):
                if rows:
                    rows.select([queries[i].row for i in batch])
                answers.update(_answer(backbone, encoded, batch))
        else:
            answers.update(_answer_after_context(backbone, encoded, members, batch_size))
    return [backbone.read(answers[i]) for i in range(len(queries))]


def _batches(
    encoded: Sequence[Encoded], members: Sequence[int], batch_size: int, prefix: int = 0
) -> Iterator[list[int]]:
    """Members by falling length, in batches of at most `batch_size` rows and `BATCH_TOKENS` padded tokens after the
    first `prefix`."""
    order = sorted(members, key=lambda i: -len(encoded[i].ids))
    while order:
        size = max(1, min(batch_size, BATCH_TOKENS // (len(encoded[order[0]].ids) - prefix)))
        yield order[:size]
        order = order[size:]


def _answer(
    backbone: Backbone,
    encoded: Sequence[Encoded],
    batch: Sequence[int],
    prefix: int = 0,
    past: DynamicCache | None = None,
) -> dict[int, list[int]]:
    """Argmax ids of a batch. `past` holds the first `prefix` tokens, which are the same in all its rows."""
    ids = pad(
        [encoded[i].ids[prefix:-1] for i in batch], backbone.pad_id, backbone.device
    )  # the last token predicts nothing
    hidden = backbone.hidden(ids, past)  # [B, T, D]
    where = [
        (row, position - 1 - prefix)
        for row, i in enumerate(batch)
        for position in range(encoded[i].target, len(encoded[i].ids))
    ]
    at_rows, at_positions = (torch.tensor(axis, device=hidden.device) for axis in zip(*where, strict=True))
    predicted = iter(backbone.logits(hidden[at_rows, at_positions]).argmax(-1).tolist())
    return {i: [next(predicted) for _ in encoded[i].target_ids] for i in batch}


def _answer_after_context(
    backbone: Backbone, encoded: Sequence[Encoded], members: Sequence[int], batch_size: int
) -> dict[int, list[int]]:
    """The same for queries that begin alike: one pass over what they share, kept as keys and values."""
    # Of each query, the pass after the prefix needs at least the token that predicts the first of its answer.
    prefix = _common([encoded[i].ids[: encoded[i].target - 1] for i in members])
    if len(members) == 1 or prefix == 0:
        return {
            k: v
            for batch in _batches(encoded, members, batch_size)
            for k, v in _answer(backbone, encoded, batch).items()
        }
    past = DynamicCache(config=backbone.model.config)
    backbone.hidden(torch.tensor([encoded[members[0]].ids[:prefix]], device=backbone.device), past)
    answers: dict[int, list[int]] = {}
    for batch in _batches(encoded, members, batch_size, prefix):
        copied = copy.deepcopy(past)
        copied.batch_repeat_interleave(len(batch))
        answers.update(_answer(backbone, encoded, batch, prefix, copied))
    return answers


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
