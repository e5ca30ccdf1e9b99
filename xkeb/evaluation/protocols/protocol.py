"""What a protocol is, and the suite's own: teacher forcing over ids that were made once."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from xkeb.editing.editor import Editor
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Intervention
from xkeb.models.prediction import TEACHER_FORCING as OWN_STYLE
from xkeb.models.prediction import AnswerStyle, predict
from xkeb.results.lines import BASELINE
from xkeb.results.settings import ProtocolName
from xkeb.tasks.asked import COUNTING_BLANKS, TEACHER_FORCING, query_of
from xkeb.tasks.task import Task
from xkeb.types import Case, Prediction, Probe, PromptStyle, Query


@dataclass(frozen=True)
class Protocol(ABC):
    """How a model is asked, and what its answers are compared with. The fields are its ``--protocol-args``."""

    name: ClassVar[ProtocolName]
    free: ClassVar[bool] = False
    """Whether the model chooses the length of an answer."""

    def check_task(self, task: Task) -> None:  # noqa: B027 - nothing to check is the default
        """
        Raises:
            RequestError: the protocol can't be followed on a task.
        """

    def check_prompt(self, prompt: PromptStyle) -> None:  # noqa: B027 - any will do is the default
        """
        Raises:
            RequestError: the protocol has a way of its own to put a question.
        """

    def for_editor(self, editor: Editor) -> Self:
        """The protocol as a method is asked under it."""
        return self

    def ends(self, backbone: Backbone) -> list[int] | None:
        """Ids that end an answer, where the protocol takes them from the model's generation settings; None where these name
        none but the tokenizer's end of text."""
        return None

    @property
    def options(self) -> dict[str, Any]:
        """All of them, as data."""
        return dataclasses.asdict(self)

    def baseline(self, prompt: PromptStyle) -> str:
        """The file of the answers before any edit, which methods share."""
        return BASELINE.replace(".", f"{self._suffix}{_suffix(prompt)}.")

    def folder(self, method: str, prompt: PromptStyle) -> str:
        """Of a method's files."""
        return f"{method}{self._suffix}{_suffix(prompt)}"

    @property
    def _suffix(self) -> str:
        return "" if self.name == TEACHER_FORCING else f"-{self.name}"

    @property
    def blank_counts(self) -> bool:
        """Whether an answer that says nothing is one that locality can be measured by."""
        return self.name in COUNTING_BLANKS

    def query(self, case: Case, probe: Probe, row: int = 0) -> Query:
        """The question that a probe asks, under change `row`."""
        return query_of(self.name, self.options, case, probe, row)

    def predict(
        self, backbone: Backbone, queries: Sequence[Query], intervention: Intervention | None = None
    ) -> list[Prediction]:
        """The answers, in the order of `queries`.

        Args:
            intervention: the changes at work, one for each `Query.row`; without it, the one that is installed, if any.
        """
        return predict(backbone, queries, intervention, style=self.style)

    def ask(
        self, backbone: Backbone, questions: Sequence[Sequence[Query]], intervention: Intervention | None = None
    ) -> list[list[Prediction]]:
        """Each case's answers to its questions, after its edit."""
        answers = iter(self.predict(backbone, [query for queries in questions for query in queries], intervention))
        return [[next(answers) for _ in queries] for queries in questions]

    @property
    @abstractmethod
    def style(self) -> AnswerStyle:
        """How a question becomes tokens, and tokens an answer."""

    @abstractmethod
    def reference(self, backbone: Backbone, query: Query) -> Prediction:
        """The gold answer, as predictions are compared with it."""


def _suffix(prompt: PromptStyle) -> str:
    return "" if prompt == "plain" else f"-{prompt}"


@dataclass(frozen=True)
class TeacherForcingProtocol(Protocol):
    """Each token of the answer is predicted from the gold ones before it; ids are made once, of prompt and answer."""

    name: ClassVar[ProtocolName] = TEACHER_FORCING

    @property
    def style(self) -> AnswerStyle:
        return OWN_STYLE

    def reference(self, backbone: Backbone, query: Query) -> Prediction:
        return backbone.encode_reference(query.target)
