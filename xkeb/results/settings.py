"""What the lines of a journal depend on: task, model, method and protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from xkeb.errors import RequestError
from xkeb.results.fields import Count, Name, Record, Sha256, Sparse
from xkeb.results.regime import Regime
from xkeb.types import Direction, LanguagePair, PromptStyle, Sight
from xkeb.utils.hashing import digest

LINES_VERSION = 5
"""Of a line of cases.jsonl and before.jsonl; 5 brought `raw`, `judged` and `chain`. A part of their settings, unlike the
version of result.json, which can be made again from the lines. A field that may be left out (`aliases`, `second`) needs no new
one."""
ProtocolName = Literal["teacher_forcing", "paper", "generate", "wild"]
HEADLINES: Mapping[str, tuple[str, str]] = {
    "teacher_forcing": ("f1", "em"),
    "paper": ("f1_pr", "em"),
    "generate": ("f1_units", "exact"),
    "wild": ("f1_units", "exact_wild"),
}
"""The two metrics that a protocol's tables call F1 and EM. The paper's F1 is the product of precision and recall; free answers
are compared in the language's own units, whatever their spelling."""


def headline_metrics(protocol: str, measured: Sequence[str]) -> list[str]:
    """The metrics that a protocol's tables show, as far as they were measured; all that were, where neither was."""
    return [name for name in HEADLINES.get(protocol, ()) if name in measured] or list(measured)


def _check_regime(text: str) -> str:
    """Refuses what is no regime."""
    try:
        return str(Regime.read(text))
    except RequestError as error:
        raise ValueError("should be a regime") from error


RegimeName = Annotated[str, AfterValidator(_check_regime)]
"""How many edits a model gets, and when it is asked: ``single``, ``sequential:10@after_all`` (`xkeb.results.regime`)."""


class DatasetRecord(Record):
    name: Name
    sha256: Sha256
    """Of the test file, or over those of several."""


class TaskSettings(Sparse):
    omitted: ClassVar[frozenset[str]] = frozenset({"target", "targets"})
    name: Name
    version: Annotated[int, Field(ge=1)]
    source: Name
    """Language of the edits."""
    target: Name | None = None
    """The other language that is asked in. Only there where there is one."""
    targets: list[Name] | None = None
    """The other languages that are asked in: several, or none in a task of one language. Not there where there is one."""
    dataset: DatasetRecord

    @model_validator(mode="after")
    def _check_targets(self) -> Self:
        if (self.target is None) == (self.targets is None):
            raise ValueError("should have either a target or targets")
        if self.targets is not None and len(self.targets) == 1:
            raise ValueError("should have a target instead of one of targets")
        return self

    @property
    def direction(self) -> Direction:
        """Its languages."""
        if self.target is not None:
            return LanguagePair(self.source, self.target)
        return Direction(self.source, tuple(self.targets or ()))


class ModelSettings(Sparse):
    """What the answers depend on."""

    omitted: ClassVar[frozenset[str]] = frozenset({"template_sha256", "ends"})
    name: Name
    """Display name: the registered one, or what ``--model PLUGIN:NAME`` calls it."""
    dtype: Name
    n_parameters: Count
    sha256: Name
    """Identifies weights, configuration and tokenizer."""
    template_sha256: Sha256 | None = None
    """Of the chat template, which `sha256` need not cover. Only there where questions are put by it."""
    ends: list[int] | None = None
    """Ids that end an answer, where the protocol takes them from the model's generation settings, which `sha256` doesn't cover.
    Only there where they are others than the tokenizer's end of text."""


class MethodRecord(Record):
    name: Name
    params: dict[str, Any]
    """Every option, those that depend on the model filled in."""
    sees: list[Annotated[Sight, Field(strict=False)]]
    """What the method was shown of the data (`xkeb.types.Sight`), sorted."""
    training_sha256: Sha256 | None = None
    """Of the training file that it learns from, if it does."""
    train_size: Count | None = None
    """Facts that it learns from."""


class RunSettings(Record):
    """Everything that the lines of a journal depend on. Two runs share a journal only where this is the same."""

    schema_version: Literal[5] = 5
    task: TaskSettings
    model: ModelSettings
    method: MethodRecord | None
    """None: the answers before any edit."""
    protocol: ProtocolName
    protocol_args: dict[str, Any]
    """Every option of the protocol."""
    prompt: PromptStyle
    """How questions are put."""
    regime: RegimeName = "single"
    metrics: list[Name]
    seed: int

    @property
    def sha256(self) -> str:
        """The hash that each line carries."""
        return digest(self.model_dump(mode="json"))


METHODS_OWN = frozenset({"scorer"})
"""Among the options of the paper's protocol: how its released code asks a method. The published tables set all of them against
each other."""


def scorer_of(protocol: ProtocolName) -> str:
    """What scores the answers that a protocol's tables show: their two metrics, as ``f1+em``."""
    return "+".join(HEADLINES[protocol])
