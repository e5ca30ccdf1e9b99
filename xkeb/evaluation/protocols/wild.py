"""The rule of WILD, to the letter: Yang et al., "The Mirage of Model Editing", ACL 2025
(https://github.com/WanliYoung/Revisit-Editing-Evaluation, commit 61ccca3), with exact match where that has a judge.

Its parts, with the places they stand at there, are on the page of protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from xkeb.errors import RequestError, optional_import
from xkeb.evaluation.protocols.protocol import Protocol
from xkeb.models.backbone import Backbone
from xkeb.models.generation import generate_rows
from xkeb.models.interventions import Intervention
from xkeb.models.passes import TokenRow
from xkeb.models.prediction import AnswerStyle
from xkeb.results.settings import ProtocolName
from xkeb.tasks.asked import WILD
from xkeb.tasks.task import Task
from xkeb.types import Prediction, PromptStyle, Query

MAX_TOKENS = 50
STOPS = (".", "\n")
"""An answer ends with the first token that has one of these in it, wherever it stands: at "J." and "3.5", and never at "。"."""
ContextType = Literal["question-only", "qa_inst", "chat_temp"]
TEMPLATES: Mapping[ContextType, tuple[str, str]] = {
    "question-only": ("", ""),
    "qa_inst": ("Please answer the question:\n\nQ: ", "\nA:"),
    "chat_temp": (
        "<s>[INST] <<SYS>>\nYou are a helpful, respectful and honest assistant.\n<</SYS>>\n\n",
        " [/INST]</s>",
    ),
}
"""What stands before and after a question."""


@dataclass(frozen=True)
class WildProtocol(Protocol):
    """Greedy answers of at most 50 tokens, in English."""

    name: ClassVar[ProtocolName] = WILD
    free: ClassVar[bool] = True

    context_type: ContextType = "question-only"
    """What stands around a question when it is asked: nothing, an instruction, or the chat format of LLaMA 2. An edit is made
    with the question alone."""

    def check_task(self, task: Task) -> None:
        optional_import("opencc", "generate", "--protocol wild")  # what compares spellings, for its other metrics

    def check_prompt(self, prompt: PromptStyle) -> None:
        if prompt != "plain":
            raise RequestError(f"WILD puts questions in its own ways (context_type), not with --prompt {prompt}.")

    def ends(self, backbone: Backbone) -> list[int] | None:
        ids = end_ids(backbone)
        return sorted(ids) if ids - {backbone.tokenizer.eos_token_id} else None

    @property
    def style(self) -> AnswerStyle:
        return WildAnswers(self.context_type)

    def reference(self, backbone: Backbone, query: Query) -> Prediction:
        return backbone.encode_reference(query.target)


@dataclass(frozen=True)
class WildAnswers(AnswerStyle):
    """What the model says after a question, without the stop that ended it."""

    context_type: ContextType

    def ids(
        self, backbone: Backbone, rows: Sequence[TokenRow], intervention: Intervention | None, batch_size: int
    ) -> list[list[int]]:
        eos = backbone.tokenizer.eos_token
        stops = (*STOPS, str(eos)) if eos else STOPS
        return generate_rows(
            backbone,
            rows,
            intervention,
            max_tokens=MAX_TOKENS,
            stop=lambda text: any(stop in text for stop in stops),
            ends=end_ids(backbone),
            batch_size=batch_size,
        )

    def rows(self, backbone: Backbone, query: Query, context: str) -> Sequence[TokenRow]:
        before, after = TEMPLATES[self.context_type]
        ids = backbone.encode(f"{before}{query.prompt}{after}", context=context).ids
        return [TokenRow(ids, (len(ids) - 1,), query.row, context)]

    def answer(self, backbone: Backbone, query: Query, predicted: Sequence[Sequence[int]]) -> Prediction:
        (ids,) = predicted
        raw = text = str(backbone.tokenizer.decode(list(ids)))
        for stop in (*STOPS, backbone.tokenizer.eos_token):  # each once, in this order
            text = text.removesuffix(stop or "")
        return Prediction(text.strip(), backbone.encode_reference(text).tokens, tuple(ids), raw)


def end_ids(backbone: Backbone) -> frozenset[int]:
    """Ids that end an answer of a model: those that its generation ends with, and the tokenizer's end of text."""
    stated = getattr(backbone.model.generation_config, "eos_token_id", None)
    ids = stated if isinstance(stated, list) else [stated]
    return frozenset(i for i in (*ids, backbone.tokenizer.eos_token_id) if i is not None)
