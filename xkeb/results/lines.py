"""cases.jsonl and before.jsonl: the one place that says what stands in their lines."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from xkeb.results.fields import Label, Name, Record, Seconds, Sha256, Share, Sparse
from xkeb.types import Prediction, Property

CASES, BASELINE = "cases.jsonl", "before.jsonl"
"""The files: of a result's cases, and of the model's answers before any edit."""
RETENTION = "retention-{}.jsonl"
"""Of the earlier edits of sequences, asked again after so many: lines as in cases.jsonl."""
REVERTED = "reverted"
"""Stands among the metrics of a second turn: whether an answer that was right is not, when the question is asked again."""


class EditRecord(Record):
    prompt: str
    subject: str
    target: str
    language: Name


class Tokens(Record):
    """Bags of the backbone's tokens, which `f1` counts."""

    reference: list[int]
    before: list[int]
    after: list[int]


class RawRecord(Record):
    """Free answers before anything is cut from them."""

    before: str
    after: str


class SecondRecord(Record):
    """A question asked again, in one conversation after an unrelated one and its answer."""

    question: str
    """The unrelated one: the case's question of locality in the same language."""
    reply: str
    """The edited model's answer to that, as it stood in the conversation."""
    after: str
    """The answer to the question itself."""
    raw: str
    """All that the model said, where `after` is cut from it."""
    tokens: list[int]
    """The bag of `after`."""
    scores: dict[Name, Share]
    """By metric, from 0 to 1."""
    reverted: bool | None
    """Whether the first answer was right (`exact`) and this one is not; null where the first was not."""


class VerdictRecord(Record):
    """What a judge said of an answer."""

    verdict: Literal["correct", "incorrect", "undecided"]
    reason: str | None = None
    """Why there is no verdict, or why nobody was asked."""


class JudgedRecord(Record):
    """The verdicts on both answers to a question."""

    before: VerdictRecord
    after: VerdictRecord


class ProbeRecord(Record):
    property: Property
    language: Name
    prompt: str
    reference: str
    compared: str | None = None
    """The reference as its protocol decodes it, where that is another text."""
    aliases: list[str] | None = None
    """Other texts that are as right as the reference, where the data has them."""
    before: str
    """The answer before any edit."""
    after: str
    """The answer after the edit."""
    scores: dict[Name, Share]
    """By metric, from 0 to 1."""
    scores_before: dict[Name, Share]
    tokens: Tokens
    raw: RawRecord | None = None
    """All that the model said, where `before` and `after` are cut from it."""
    judged: JudgedRecord | None = None
    """What a judge said of `before` and `after`, where one was asked."""
    blank: bool
    """Whether locality is compared with an answer that says nothing: its scores are left out of all means then."""
    second: SecondRecord | None = None
    """The question asked again after the edit, where that was asked for (``second_turn`` of free answers)."""


class CaseSeconds(Record):
    edit: Seconds
    evaluate: Seconds


class SequenceRecord(Record):
    """Where a case stands in the edits of one model."""

    sha256: Sha256
    """Of the ids of all cases of the sequence, in the order of their edits."""
    place: Annotated[int, Field(ge=1)]
    """Of its own edit, from 1."""
    edits: Annotated[int, Field(ge=1)]
    """Up to which place edits had been made when it was asked."""


class CaseRecord(Sparse):
    """A line of cases.jsonl."""

    omitted: ClassVar[frozenset[str]] = frozenset({"sequence"})
    what: ClassVar[str] = "case"
    case_id: Name
    status: Literal["ok", "skipped"]
    reason: str | None
    """Why it was skipped."""
    edit: EditRecord
    probes: list[ProbeRecord]
    slices: dict[Label, Label] = Field(default_factory=dict)
    """What the data tells of the case, kind -> value (`xkeb.tasks.slices`)."""
    seconds: CaseSeconds | None = None
    sequence: SequenceRecord | None = None
    """Under another regime than ``single``; not there for a case that fills no whole sequence."""
    settings: str
    chain: str = ""
    """Checksum over this line and the `chain` of the line before it (`xkeb.results.chain`); the journal fills it in."""

    @property
    def key(self) -> str:
        return self.case_id


class AnswerRecord(Record):
    """A model's answer to a probe."""

    text: str
    tokens: list[int]
    ids: list[int]
    raw: str | None = None
    """All that the model said, where `text` is cut from it."""

    @classmethod
    def of(cls, answer: Prediction) -> Self:
        return cls(text=answer.text, tokens=list(answer.tokens), ids=list(answer.ids), raw=answer.raw)

    @property
    def prediction(self) -> Prediction:
        return Prediction(self.text, tuple(self.tokens), tuple(self.ids), self.raw)


class BaselineRecord(Record):
    """A line of before.jsonl: the answers to a case's probes before any edit."""

    what: ClassVar[str] = "case"
    case_id: Name
    answers: list[AnswerRecord]
    settings: str
    chain: str = ""
    """As in cases.jsonl."""

    @property
    def key(self) -> str:
        return self.case_id
