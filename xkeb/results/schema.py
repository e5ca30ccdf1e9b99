"""result.json, cases.jsonl and before.jsonl: the one place that says what stands in them.

The runner constructs these models, the journal dumps them, the checker and the site validate with them, and the
documentation is made from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from xkeb.errors import RequestError
from xkeb.results.untrusted import UnreadableError, inline, load_json, quoted
from xkeb.types import Direction, LanguagePair, Prediction, PromptStyle, Property, Sight
from xkeb.utils.files import write_atomically
from xkeb.utils.hashing import digest
from xkeb.utils.names import is_name

SCHEMA_VERSION = 6
"""Of result.json. 2 brought `seed`, `metrics` and the phases of `timing`; 3 what a model is beside its registered name,
what a method may see, and which cases were selected; 4 the options of a protocol, `n_clusters` of a score, and errors and
intervals over clusters; 5 `prompt`, `regime`, `comparable_group`, the slices, blank answers apart from locality, `judge`; 6
`scorer` and the second turn of free answers."""
LINES_VERSION = 5
"""Of a line of cases.jsonl and before.jsonl; 5 brought `raw`, `judged` and `chain`. A part of their settings, unlike the
version of result.json, which can be made again from the lines. A field that may be left out (`aliases`, `second`) needs no new
one."""
RESULT, CASES, BASELINE = "result.json", "cases.jsonl", "before.jsonl"
"""The files: of a result, of its cases, and of the model's answers before any edit."""

ANY_NAME: Mapping[str, bool] = {"any_name": True}
"""Validation context under which names may be any text: the site shows, as text, what can't be the name of a folder."""


def _check_name(text: str, info: ValidationInfo) -> str:
    """Refuses what no run can have written, since the name is that of a folder of its output."""
    if info.context and info.context.get("any_name") and text:
        return text
    if not is_name(text):
        raise ValueError("should be a name")
    return text


Name = Annotated[str, AfterValidator(_check_name)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
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


Regime = Literal["single"]
"""How many edits are made before the questions: one."""
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=-1e-9, le=100 + 1e-9)]  # a mean may be off by the last digit


class Record(BaseModel):
    """A part of a file: no conversions, no other keys, no infinities, frozen."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False,
        ser_json_inf_nan="constants",  # of what may be anything: refused when it is written, and never made a null
    )  # fmt: skip


class Sparse(Record):
    """Leaves some keys out of the file where they have nothing to say."""

    omitted: ClassVar[frozenset[str]]
    """Those keys; they are None then. A result of two languages has none of what several need."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if value is not None or key not in self.omitted}


class DatasetRecord(Record):
    name: Name
    sha256: Sha256
    """Of the test file, or over those of several."""


class CountedDatasetRecord(DatasetRecord):
    n_cases: Count
    """Cases of this run, those that the method skipped included."""


class TaskSettings(Sparse):
    omitted: ClassVar[frozenset[str]] = frozenset({"target", "targets"})
    name: Name
    version: Annotated[int, Field(ge=1)]
    source: Name
    """Language of the edits."""
    target: Name | None = None
    """The other language that is asked in. Not there where there are several."""
    targets: Annotated[list[Name], Field(min_length=2)] | None = None
    """The other languages that are asked in. Not there where there is one."""
    dataset: DatasetRecord

    @model_validator(mode="after")
    def _check_targets(self) -> Self:
        if (self.target is None) == (self.targets is None):
            raise ValueError("should have either a target or targets")
        return self

    @property
    def direction(self) -> Direction:
        """Its languages."""
        if self.target is not None:
            return LanguagePair(self.source, self.target)
        return Direction(self.source, tuple(self.targets or ()))


class TaskRecord(TaskSettings):
    dataset: CountedDatasetRecord


class ModelSettings(Record):
    """What the answers depend on."""

    name: Name
    """Display name: the registered one, or what ``--model PLUGIN:NAME`` calls it."""
    dtype: Name
    n_parameters: Count
    sha256: Name
    """Identifies weights, configuration and tokenizer."""


class ModelRecord(ModelSettings):
    plugin: Name
    """The name under which what loads it is registered."""
    args: dict[str, Any]
    """Its ``--model-args``."""
    revision: str | None
    """Commit of the hub's repository that was read, where it came from there."""


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
    regime: Regime = "single"
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


REVERTED = "reverted"
"""Stands among the metrics of a second turn: whether an answer that was right is not, when the question is asked again."""


def comparable_group(settings: RunSettings | Result) -> str:
    """What two results must share for their numbers to be comparable: task and data, protocol and its rules, prompt, regime,
    and what scores them."""
    task = settings.task
    rules = {name: value for name, value in settings.protocol_args.items() if name not in METHODS_OWN}
    data = f"{task.name}@{task.version}:{task.dataset.sha256[:8]}"
    protocol = f"{settings.protocol}:{digest(rules)[:8]}" if rules else settings.protocol
    return f"{data}/{protocol}/{settings.prompt}/{settings.regime}/{scorer_of(settings.protocol)}"


class Score(Record):
    """A mean over cases, times 100, with its uncertainty over clusters of cases: those that edit one subject."""

    mean: Percent
    stderr: Annotated[float, Field(ge=0)]
    """Cluster-robust standard error of the mean; 0 where all clusters agree, or there is but one."""
    ci95: Annotated[tuple[Percent, Percent], Field(strict=False)]
    """Percentile interval of the cluster bootstrap; where all clusters agree, Clopper and Pearson's bound."""
    n: Annotated[int, Field(ge=1)]
    """Cases."""
    n_clusters: Annotated[int, Field(ge=1)]
    """Subjects that their edits are about; a case without one counts as its own."""


Scores = dict[Property, dict[Name, dict[Name, Score]]]
"""property -> language -> metric -> score."""


class BlankRecord(Record):
    """The questions of one language that can't measure locality: what it is compared with says nothing."""

    n: Annotated[int, Field(ge=1)]
    """How many there are."""
    scores: dict[Name, Score]
    """By metric, locality with them."""


class CrossingRecord(Record):
    """What crosses from the language of the edits to another, over the cases that are asked in both. Times 100."""

    gain: float
    """Generality in the other language after the edits, less that before them."""
    gain_source: float
    """The same in the language of the edits."""
    transfer: float | None
    """`gain` in percent of `gain_source`; None where that isn't above 0."""
    ci95: Annotated[tuple[float, float], Field(strict=False)] | None
    """Of `transfer`: percentile interval of the cluster bootstrap; None where resamples don't tell one."""
    both: Score
    """Mean of the lower of both scores of a case: of `em`, how often a fact holds in both languages at once."""


Crossings = dict[str, dict[Name, dict[Name, CrossingRecord]]]
"""``answers=differ`` or ``all`` -> target language -> metric -> what crosses."""


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

    omitted: ClassVar[frozenset[str]] = frozenset({"crossing", "missing"})
    schema_version: Literal[6] = 6
    task: TaskRecord
    model: ModelRecord
    method: MethodRecord
    protocol: ProtocolName
    protocol_args: dict[str, Any]
    """Every option of the protocol."""
    prompt: PromptStyle
    """How questions are put."""
    regime: Regime
    """How many edits are made before the questions."""
    scorer: str
    """What scores the answers that tables show: the protocol's two metrics (`xkeb.results.schema.scorer_of`)."""
    comparable_group: str
    """Results whose numbers are comparable have the same (`xkeb.results.schema.comparable_group`)."""
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
            any_name: names may be any text, see `ANY_NAME`.

        Raises:
            RequestError: it is no result of this schema version.
        """
        try:
            value = load_json(path)
            if problem := version_problem(value):
                raise UnreadableError(problem)
            return cls.model_validate(value, context=ANY_NAME if any_name else None)
        except UnreadableError as error:
            raise RequestError(f"{path} {error}.") from error
        except ValidationError as error:
            wrong = list(sentences(error))
            more = f"; {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
            raise RequestError(f"{path} is not a result: {'; '.join(wrong[:NAMED])}{more}.") from error


NAMED = 3
"""Things that are wrong with a file, as far as a sentence names them."""


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


class CaseRecord(Record):
    """A line of cases.jsonl."""

    case_id: Name
    status: Literal["ok", "skipped"]
    reason: str | None
    """Why it was skipped."""
    edit: EditRecord
    probes: list[ProbeRecord]
    slices: dict[Name, Name] = {}
    """What the data tells of the case, kind -> value (`xkeb.tasks.slices`)."""
    seconds: CaseSeconds | None = None
    settings: str
    chain: str = ""
    """Checksum over this line and the `chain` of the line before it (`xkeb.results.chain`); the journal fills it in."""


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

    case_id: Name
    answers: list[AnswerRecord]
    settings: str
    chain: str = ""
    """As in cases.jsonl."""


def sentences(error: ValidationError) -> Iterator[str]:
    """What a model refused: the place, what was expected, what stands there."""
    for problem in error.errors(include_url=False, include_context=False):
        place = ".".join(inline(part) for part in problem["loc"]) or "it"
        if problem["type"] == "missing":
            yield f"{place} is missing"
        elif problem["type"] == "extra_forbidden":
            yield f"{place} is not a field of this schema version"
        else:
            expected = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
            yield f"{place} {expected}, not {quoted(problem['input'])}"
