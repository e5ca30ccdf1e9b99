"""Predictions at given positions: one forward pass a batch, the head at those positions only."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Delegate, Intervention, installed_intervention
from xkeb.models.passes import Passes, TokenRow
from xkeb.types import Prediction, Query


class AnswerStyle(ABC):
    """How a question becomes texts to pass, and predicted ids an answer."""

    def ids(
        self, backbone: Backbone, rows: Sequence[TokenRow], intervention: Intervention | None, batch_size: int
    ) -> list[list[int]]:
        """The ids that the backbone says to each row: by default the argmax at its positions."""
        return predict_rows(backbone, rows, intervention, batch_size=batch_size)

    @abstractmethod
    def rows(self, backbone: Backbone, query: Query, context: str) -> Sequence[TokenRow]:
        """The texts of one question.

        Args:
            context: what a change puts before the prompt.
        """

    @abstractmethod
    def answer(self, backbone: Backbone, query: Query, predicted: Sequence[Sequence[int]]) -> Prediction:
        """The answer, from the ids predicted in each row."""

    def passed_on(self, backbone: Backbone, reply: Prediction) -> Prediction:
        """Another model's answer, its text counted as the backbone's own are."""
        return backbone.retokenize(reply)


class TeacherForcing(AnswerStyle):
    """The ids of prompt and answer are tokenised once, so that one pass gives the same tokens as predicting from growing
    prefixes of these ids."""

    def rows(self, backbone: Backbone, query: Query, context: str) -> Sequence[TokenRow]:
        encoded = backbone.encode(query.prompt, query.target, query.language, context=context)
        last = len(encoded.ids) - 1  # the last token predicts nothing
        return [TokenRow(encoded.ids[:-1], tuple(range(encoded.target - 1, last)), query.row, context)]

    def answer(self, backbone: Backbone, query: Query, predicted: Sequence[Sequence[int]]) -> Prediction:
        return backbone.decode(predicted[0])


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
    """The answers in a style, in the order of `queries`: by default the argmax at each position of the gold answer.

    Queries of similar length share a batch; those of one row that begin with the same long context share one pass over it.

    A question that a change has another model answer is put to that one, in its own tokens.

    Args:
        intervention: the changes at work, one for each `Query.row`; without it, the one that is installed, if any.
        batch_size: most rows of one forward pass.
    """
    if intervention is None and (intervention := installed_intervention(backbone)) is not None:
        queries = [dataclasses.replace(query, row=0) for query in queries]
    answers: dict[int, Prediction] = {}
    for share in shares(backbone, queries, intervention):
        if share.backbone is backbone:
            replies = _answer(backbone, share.queries, intervention, batch_size, style)
        else:
            others = predict(share.backbone, share.queries, batch_size=batch_size, style=style)
            replies = [style.passed_on(backbone, reply) for reply in others]
        answers.update(zip(share.indices, replies, strict=True))
    return [answers[i] for i in range(len(queries))]


@dataclass(frozen=True, slots=True)
class Share:
    """The questions that one model answers."""

    backbone: Backbone
    indices: Sequence[int]
    """Where they stand among all that are asked."""
    queries: Sequence[Query]
    """As that model sees them."""


def shares(backbone: Backbone, queries: Sequence[Query], intervention: Intervention | None) -> Iterator[Share]:
    """Which model answers which questions: the backbone, unless the changes at work have another one answer."""
    delegates = intervention.delegates(queries) if intervention else [None] * len(queries)
    indices: dict[Backbone, list[int]] = defaultdict(list)
    for i, delegate in enumerate(delegates):
        indices[delegate.backbone if delegate else backbone].append(i)
    for model, own in indices.items():
        yield Share(model, own, [_pass_on(queries[i], delegates[i]) for i in own])


def _answer(
    backbone: Backbone,
    queries: Sequence[Query],
    intervention: Intervention | None,
    batch_size: int,
    style: AnswerStyle,
) -> list[Prediction]:
    """The backbone's own answers."""
    contexts = [context_of(intervention, query) for query in queries]
    rows = [style.rows(backbone, query, context) for query, context in zip(queries, contexts, strict=True)]
    flat = [row for own in rows for row in own]
    predicted = iter(style.ids(backbone, flat, intervention, batch_size))
    return [
        style.answer(backbone, query, [next(predicted) for _ in own]) for query, own in zip(queries, rows, strict=True)
    ]


def context_of(intervention: Intervention | None, query: Query) -> str:
    """What stands before a question: its own context, or that of the changes at work."""
    if query.context or intervention is None:
        return query.context
    return intervention.context(query.row, query.language)


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
    return _Predictions(backbone, rows, intervention, batch_size).run()


class _Predictions(Passes[list[int]]):
    """One pass of a batch, the head at the rows' positions only."""

    def _nothing(self) -> list[int]:
        return []

    def _pass(self, batch: Sequence[int], prefix: int, past: DynamicCache | None) -> dict[int, list[int]]:
        states = self.states(batch, prefix, past)
        predicted = iter(self.backbone.logits(torch.cat(list(states.values()))).argmax(-1).tolist())
        return {i: [next(predicted) for _ in self.rows[i].positions] for i in batch}
