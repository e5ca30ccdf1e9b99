"""The evaluation of the paper's released code, to the letter (https://github.com/krystalan/Bi_ZsRE, commit 254f830).

Its rules, with the places they stand at there, are on the page of protocols. Each can be switched to the suite's own rule
alone, which is how that page measures what it makes of a score.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from xkeb.editing.editor import Editor
from xkeb.errors import RequestError
from xkeb.evaluation.protocols.protocol import Protocol
from xkeb.evaluation.protocols.published_tokenizer import tokenizer_hash
from xkeb.evaluation.protocols.released_rules import ReleasedRules
from xkeb.evaluation.protocols.released_style import ReleasedStyle
from xkeb.models.backbone import Backbone
from xkeb.results.lines import BASELINE
from xkeb.results.settings import ProtocolName
from xkeb.tasks.asked import PAPER
from xkeb.tasks.task import Task
from xkeb.types import Prediction, PromptStyle, Query


@dataclass(frozen=True)
class PaperProtocol(ReleasedRules, Protocol):
    """The released evaluation."""

    name: ClassVar[ProtocolName] = PAPER

    def check_task(self, task: Task) -> None:
        if self.reliability == "english" and "en" not in task.pair.languages:
            raise RequestError(
                f"Task {task.name!r} asks in {' and '.join(task.pair.languages)}: its reliability can't be scored against an "
                f"English target (reliability=english)."
            )

    def for_editor(self, editor: Editor) -> Self:
        me = dataclasses.replace(self)
        object.__setattr__(me, "scorer", editor.released_scorer)
        return me

    @property
    def options(self) -> dict[str, Any]:
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.init}
        sha256 = tokenizer_hash(self.tokenizer) if self.tokenizer else None
        return {**own, "tokenizer_sha256": sha256, "scorer": self.scorer}

    def check_prompt(self, prompt: PromptStyle) -> None:
        if prompt != "plain":
            raise RequestError(f"The paper's protocol puts questions as the released code does: not --prompt {prompt}.")

    def baseline(self, prompt: PromptStyle) -> str:
        return BASELINE.replace(".", f"-{self.name}-{self.scorer}.")

    @property
    def style(self) -> ReleasedStyle:
        return ReleasedStyle(self)

    def reference(self, backbone: Backbone, query: Query) -> Prediction:
        return self.style.reference(backbone, query)
