"""result.json: the one place that says what stands in it.

The runner constructs these models, the journal dumps them, the checker and the site validate with them, and the
documentation is made from them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    ValidationError,
)

from xkeb.errors import RequestError
from xkeb.results.damage import Damage
from xkeb.results.fields import NAMED, Count, Name, Percent, Record, Seconds, Sha256, Sparse, sentences, validated
from xkeb.results.scores import BlankRecord, Crossings, Scores
from xkeb.results.settings import (
    LINES_VERSION,
    DatasetRecord,
    MethodRecord,
    ModelSettings,
    ProtocolName,
    RegimeName,
    RunSettings,
    TaskSettings,
)
from xkeb.results.untrusted import UnreadableError, load_json
from xkeb.types import PromptStyle
from xkeb.utils.files import write_atomically

SCHEMA_VERSION = 6
"""Of result.json. 2 brought `seed`, `metrics` and the phases of `timing`; 3 what a model is beside its registered name,
what a method may see, and which cases were selected; 4 the options of a protocol, `n_clusters` of a score, and errors and
intervals over clusters; 5 `prompt`, `regime`, `comparable_group`, the slices, blank answers apart from locality, `judge`; 6
`scorer` and the second turn of free answers."""
RESULT = "result.json"
"""The file of a result."""


class CountedDatasetRecord(DatasetRecord):
    n_cases: Count
    """Cases of this run, those that the method skipped included."""


class TaskRecord(TaskSettings):
    dataset: CountedDatasetRecord


class ModelRecord(ModelSettings):
    plugin: Name
    """The name under which what loads it is registered."""
    args: dict[str, Any]
    """Its ``--model-args``."""
    revision: str | None
    """Commit of the hub's repository that was read, where it came from there."""


class AgreementRecord(Record):
    """How often a judge and a metric that compares spellings say the same of answers after the edit."""

    both_right: Count
    both_wrong: Count
    judge_only: Count
    """Answers that only the judge takes for right."""
    metric_only: Count
    """Answers that only the metric takes for right."""
    percent: Percent
    """Of the answers, those that both take for right, or both for wrong."""
    kappa: Annotated[float, Field(ge=-1, le=1)] | None
    """Cohen's: agreement beyond chance. None where chance alone agrees on all, as when all answers are wrong to both."""


class JudgeRecord(Record):
    """The language model that judged free answers (`xkeb judge`)."""

    model: str
    """Its name at the endpoint."""
    endpoint: str
    """Where it was asked."""
    args: dict[str, Any]
    """What each request said beside the model and the text, such as the temperature."""
    prompt: str
    """The text that it was asked with; ``{record}`` stands for question, reference and answer as JSON."""
    prompt_sha256: Sha256
    asked: Count
    """Different questions to it that this result brought; equal ones are asked once."""
    cached: Count
    """Different questions whose verdict was known from before."""
    blank: Count
    """Answers that say nothing: wrong, without being asked about."""
    itself: Count
    """Answers before the edit to a question of locality, compared with themselves: right, without being asked about."""
    undecided: dict[str, Count]
    """Answers without a verdict by reason; they have no score."""
    agreement: dict[Name, dict[Name, AgreementRecord]]
    """metric -> language -> agreement, over the answers after the edit that the judge decided."""


class SkippedRecord(Record):
    case_id: Name
    reason: str


class MissingRecord(Record):
    """A language in which a case could not be asked."""

    case_id: Name
    language: Name
    reason: str


class Phases(Record):
    """Seconds of each phase."""

    load: Seconds
    """Loading the model; counted for the first job that needed it."""
    before: Seconds
    """The model's answers before any edit."""
    fit: Seconds
    """Learning."""
    edit: Seconds
    evaluate: Seconds
    """The answers after the edits."""
    suite: Seconds
    """Everything else: scores, journal, means."""


class Timing(Record):
    edit_seconds: Seconds
    """Of `case_ids`, whichever run made them."""
    evaluate_seconds: Seconds
    """Likewise."""
    wall_seconds: Seconds
    """Of the last run; its phases without `load` add up to it."""
    peak_memory_bytes: Count
    """Of the last run's process."""
    phases: Phases
    """Of the last run."""


class Result(Sparse):
    """result.json: one job, that is a task, a model and a method."""

    omitted: ClassVar[frozenset[str]] = frozenset({"crossing", "damage", "missing", "retention"})
    schema_version: Literal[6] = 6
    task: TaskRecord
    model: ModelRecord
    method: MethodRecord
    protocol: ProtocolName
    protocol_args: dict[str, Any]
    """Every option of the protocol."""
    prompt: PromptStyle
    """How questions are put."""
    regime: RegimeName
    """How many edits a model gets, and when it is asked."""
    scorer: str
    """What scores the answers that tables show: the protocol's two metrics (`xkeb.results.settings.scorer_of`)."""
    comparable_group: str
    """Results whose numbers are comparable have the same (`xkeb.results.group.comparable_group`)."""
    metrics: Annotated[list[Name], Field(min_length=1)]
    """In the order asked for."""
    seed: int
    """Of the run; a method that draws has it among its params."""
    selection: Literal["all", "first", "named"]
    """Which of the data's cases were asked for: all, the first so many (``--limit``), or some by name (``--cases``)."""
    scores: Scores
    scores_before: Scores
    """The same of the model before any edit, on the same cases: what an edit has to be measured against."""
    slices: dict[str, Scores]
    """``KIND=VALUE`` -> the same as `scores`, of the cases of that slice."""
    slices_before: dict[str, Scores]
    """The same of `scores_before`."""
    second_turn: Scores
    """The same as `scores` of the questions asked again, where that was asked for, and ``reverted``: of those answered right at
    first, how many were not again."""
    blank: dict[Name, BlankRecord]
    """By language, what locality leaves out; empty where nothing is left out."""
    crossing: Crossings | None = None
    """Of a task with several targets: ``answers=differ`` or ``all`` -> target -> metric -> what crosses to it."""
    retention: dict[Annotated[str, Field(pattern="^[1-9][0-9]*$")], Scores] | None = None
    """Of sequences: after how many edits -> reliability and generality of all edits up to there, asked again."""
    damage: Damage | None = None
    """Of regimes with several edits on one model, where it was asked for."""
    judge: JudgeRecord | None = None
    """What the metric `judge` rests on, where it was measured."""
    skipped: list[SkippedRecord]
    """The cases that could not be run, and why."""
    missing: list[MissingRecord] | None = None
    """Of a task with several targets: languages that cases lack, which are asked in the others."""
    case_ids: list[Name]
    """The cases behind `scores`; the journal may hold more, from a run with a higher limit."""
    timing: Timing
    environment: dict[str, Any]
    """Versions, hardware, commit and date."""
    command: str
    settings: Sha256
    """Hash of everything the cases depend on; each line of the journal carries it."""

    @property
    def title(self) -> str:
        return f"{self.task.name} / {self.model.name} / {self.method.name}"

    def run_settings(self) -> RunSettings:
        """What its cases depend on, as the result states it."""
        dataset = DatasetRecord(name=self.task.dataset.name, sha256=self.task.dataset.sha256)
        task = {name: getattr(self.task, name) for name in TaskSettings.model_fields if name != "dataset"}
        return RunSettings(
            task=TaskSettings(**task, dataset=dataset),
            model=ModelSettings(**{name: getattr(self.model, name) for name in ModelSettings.model_fields}),
            method=self.method,
            protocol=self.protocol,
            protocol_args=self.protocol_args,
            prompt=self.prompt,
            regime=self.regime,
            metrics=self.metrics,
            seed=self.seed,
        )

    def save(self, folder: Path) -> None:
        """Writes result.json.

        Raises:
            RequestError: the folder can't be written.
        """
        path = folder / RESULT
        text = json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=2, allow_nan=False)
        try:
            write_atomically(path, text + "\n")
        except OSError as error:
            raise RequestError(f"Can't write {path}: {error.strerror}.") from error

    @classmethod
    def load(cls, path: Path, *, any_name: bool = False) -> Self:
        """Reads a file written by `save`.

        Args:
            any_name: names may be any text, see `validated`.

        Raises:
            RequestError: it is no result of this schema version.
        """
        try:
            value = load_json(path)
            if problem := version_problem(value):
                raise UnreadableError(problem)
            return validated(cls, value, any_name=any_name)
        except UnreadableError as error:
            raise RequestError(f"{path} {error}.") from error
        except ValidationError as error:
            wrong = list(sentences(error))
            more = f"; {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
            raise RequestError(f"{path} is not a result: {'; '.join(wrong[:NAMED])}{more}.") from error


def version_problem(value: Any) -> str | None:
    """Why a value is no result.json of this schema version, as what follows the file's name; None where it says it is."""
    version = value.get("schema_version") if isinstance(value, dict) else None
    if isinstance(version, bool) or not isinstance(version, int):
        return "is not a result: it has no schema_version that is a number"
    if version > SCHEMA_VERSION:
        return f"is of schema version {version}, newer than the {SCHEMA_VERSION} that this xkeb reads"
    if version < SCHEMA_VERSION:
        readable = version >= LINES_VERSION  # the lines beside it are
        again = "given again" if readable else "given again with --fresh"
        return (
            f"is of schema version {version}, older than the {SCHEMA_VERSION} that this xkeb reads: the command that made it, "
            f"{again}, makes it anew"
        )
    return None
