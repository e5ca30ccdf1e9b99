"""result.json of schema version 2 and cases.jsonl, as strict models: what `xkeb.results` and `xkeb.evaluation` write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from xkeb.leaderboard.hostile import inline, quoted
from xkeb.types import Property

LONGEST_NAME = 200


def _name(text: str) -> str:
    """Refuses what no run can have written, since the name is that of a folder of its output."""
    if not 0 < len(text) <= LONGEST_NAME or not text.isprintable() or text in (".", "..") or {"/", "\\"} & set(text):
        raise ValueError("should be a name")
    return text


Name = Annotated[str, AfterValidator(_name)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=-1e-9, le=100 + 1e-9)]  # a mean may be off by the last digit


class Strict(BaseModel):
    """No conversions, no other keys, no infinities."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class DatasetPart(Strict):
    name: Name
    sha256: Sha256
    n_cases: Count


class TaskPart(Strict):
    name: Name
    version: Annotated[int, Field(ge=1)]
    source: Name
    target: Name
    dataset: DatasetPart


class ModelPart(Strict):
    name: Name
    dtype: Name
    n_parameters: Count
    sha256: Name


class MethodPart(Strict):
    name: Name
    params: dict[str, Any]
    training_sha256: Sha256 | None = None
    train_size: Count | None = None


class ScorePart(Strict):
    mean: Percent
    stderr: Annotated[float, Field(ge=0)]
    ci95: Annotated[list[Percent], Field(min_length=2, max_length=2)]
    n: Annotated[int, Field(ge=1)]


class SkippedPart(Strict):
    case_id: Name
    reason: str


class PhasesPart(Strict):
    load: Seconds
    before: Seconds
    fit: Seconds
    edit: Seconds
    evaluate: Seconds
    suite: Seconds


class TimingPart(Strict):
    edit_seconds: Seconds
    evaluate_seconds: Seconds
    wall_seconds: Seconds
    peak_memory_bytes: Seconds
    phases: PhasesPart


ScoreParts = dict[Property, dict[Name, dict[Name, ScorePart]]]


class ResultFile(Strict):
    """result.json"""

    schema_version: int
    task: TaskPart
    model: ModelPart
    method: MethodPart
    protocol: Literal["teacher_forcing"]
    metrics: Annotated[list[Name], Field(min_length=1)]
    seed: int
    scores: ScoreParts
    scores_before: ScoreParts
    skipped: list[SkippedPart]
    case_ids: list[Name]
    timing: TimingPart
    environment: dict[str, Any]
    command: str
    settings: Sha256

    @property
    def title(self) -> str:
        return f"{self.task.name} / {self.model.name} / {self.method.name}"


class EditPart(Strict):
    prompt: str
    subject: str
    target: str
    language: Name


class TokensPart(Strict):
    reference: list[int]
    before: list[int]
    after: list[int]


class ProbePart(Strict):
    property: Property
    language: Name
    prompt: str
    reference: str
    before: str
    after: str
    scores: dict[Name, Share]
    scores_before: dict[Name, Share]
    tokens: TokensPart


class SecondsPart(Strict):
    edit: Seconds
    evaluate: Seconds


class CaseLine(Strict):
    """A line of cases.jsonl."""

    case_id: Name
    status: Literal["ok", "skipped"]
    reason: str | None
    edit: EditPart
    probes: list[ProbePart]
    seconds: SecondsPart | None = None
    settings: str


def sentences(error: ValidationError) -> Iterator[str]:
    """What a model refused: the place, what was expected, what stands there."""
    for found in error.errors(include_url=False, include_context=False):
        place = ".".join(inline(part) for part in found["loc"]) or "it"
        if found["type"] == "missing":
            yield f"{place} is missing"
        elif found["type"] == "extra_forbidden":
            yield f"{place} is not a field of this schema version"
        else:
            expected = found["msg"].removeprefix("Value error, ").removeprefix("Input ")
            yield f"{place} {expected}, not {quoted(found['input'])}"
