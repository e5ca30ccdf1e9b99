"""Free answers: a model says what it likes, and the answer is cut from that."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xkeb.evaluation.protocols.protocol import Protocol
from xkeb.evaluation.protocols.sentences import Cut, cut_answer, is_past_first_line, sentence_library
from xkeb.models.backbone import Backbone
from xkeb.models.generation import generate_rows
from xkeb.models.interventions import Intervention
from xkeb.models.passes import TokenRow
from xkeb.models.prediction import AnswerStyle
from xkeb.registry.manager import get_plugins
from xkeb.results.settings import ProtocolName
from xkeb.results.untrusted import LONGEST_TEXT
from xkeb.tasks.asked import GENERATE
from xkeb.tasks.task import Task
from xkeb.types import Prediction, Query, SecondTurn

LONGEST_TOKEN = 128
"""Characters: some tokenizers have one of so many spaces."""
MOST_TOKENS = LONGEST_TEXT // LONGEST_TOKEN
"""Of an answer: one of more could be a longer text than is ever read, and so would make a result that nothing can read."""


@dataclass(frozen=True)
class GenerateProtocol(Protocol):
    """Greedy answers, a token at a time, of a length that the model chooses; nothing of the gold answer is shown."""

    name: ClassVar[ProtocolName] = GENERATE
    free: ClassVar[bool] = True

    max_tokens: int = 32
    """Most tokens of an answer, up to `MOST_TOKENS`. A model that goes on is stopped there."""
    cut: Cut = "sentence"
    """What counts of what it said: the first sentence in the language of the question, the first line, or all (none)."""
    second_turn: bool = False
    """After the edit, ask each question again in one conversation after the case's unrelated question in the same language and
    the model's own answer to that: an edit may revert."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_tokens <= MOST_TOKENS:
            raise ValueError(f"max_tokens must be from 1 to {MOST_TOKENS:,}, not {self.max_tokens}")

    def check_task(self, task: Task) -> None:
        if self.cut == "sentence":
            sentence_library()

    def ask(
        self, backbone: Backbone, questions: Sequence[Sequence[Query]], intervention: Intervention | None = None
    ) -> list[list[Prediction]]:
        answers = super().ask(backbone, questions, intervention)
        if not self.second_turn:
            return answers
        places: list[tuple[int, int]] = []
        again: list[Query] = []
        for i, (queries, given) in enumerate(zip(questions, answers, strict=True)):
            unrelated = {
                query.language: (query.prompt, answer.text)
                for query, answer in zip(queries, given, strict=True)
                if query.property == "locality"
            }
            for k, query in enumerate(queries):
                if query.property != "locality" and (earlier := unrelated.get(query.language)):
                    places.append((i, k))
                    again.append(dataclasses.replace(query, earlier=earlier))
        for (i, k), query, answer in zip(places, again, self.predict(backbone, again, intervention), strict=True):
            assert query.earlier is not None
            answers[i][k] = dataclasses.replace(answers[i][k], second=SecondTurn(*query.earlier, answer))
        return answers

    @property
    def style(self) -> AnswerStyle:
        return FreeAnswers(self.max_tokens, self.cut)

    def reference(self, backbone: Backbone, query: Query) -> Prediction:
        return backbone.encode_reference(query.target)


@dataclass(frozen=True)
class FreeAnswers(AnswerStyle):
    """The question is passed; what follows is the model's own. It ends at a special token, after its first line, or where the
    budget does; where a sentence ends is found afterwards, so that another rule can be tried on the same answers."""

    max_tokens: int
    cut: Cut

    def ids(
        self, backbone: Backbone, rows: Sequence[TokenRow], intervention: Intervention | None, batch_size: int
    ) -> list[list[int]]:
        return generate_rows(
            backbone, rows, intervention, max_tokens=self.max_tokens, stop=self._ended, batch_size=batch_size
        )

    def rows(self, backbone: Backbone, query: Query, context: str) -> Sequence[TokenRow]:
        ids = backbone.encode_question(query.prompt, query.language, context=context, earlier=query.earlier).ids
        return [TokenRow(ids, (len(ids) - 1,), query.row, context)]

    def answer(self, backbone: Backbone, query: Query, predicted: Sequence[Sequence[int]]) -> Prediction:
        (ids,) = predicted
        raw = backbone.said(ids)
        text = cut_answer(raw, get_plugins().languages.get(query.language), self.cut)
        return Prediction(text, backbone.encode_reference(text).tokens, tuple(ids), raw)

    def _ended(self, text: str) -> bool:
        return self.cut != "none" and is_past_first_line(text)
