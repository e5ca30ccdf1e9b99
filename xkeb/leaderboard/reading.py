"""A result.json from anywhere: refused unless each field is of the kind that the pages expect, whatever it says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xkeb.errors import RequestError
from xkeb.leaderboard.hostile import UnreadableError, load
from xkeb.leaderboard.schema import Count, ScorePart, Seconds, sentences
from xkeb.results import SCHEMA_VERSION, Result, Scores, other_version
from xkeb.types import Score

NAMED = 3
"""Things that are wrong with a file, as far as a sentence names them."""
Name = Annotated[str, Field(min_length=1)]
"""Of any letters: unlike `xkeb leaderboard check`, the site shows what can't be a folder's name, as text."""


class Loose(BaseModel):
    """Other fields are let through: nothing is looked up in them."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class TaskShape(Loose):
    name: Name
    source: Name
    target: Name


class ModelShape(Loose):
    name: Name


class MethodShape(Loose):
    name: Name
    train_size: Count | None = None


class SkippedShape(Loose):
    case_id: str
    reason: str


class TimingShape(Loose):
    edit_seconds: Seconds
    evaluate_seconds: Seconds
    phases: dict[str, Seconds]


ScoreShapes = dict[str, dict[str, dict[str, ScorePart]]]


class ResultShape(Loose):
    schema_version: int
    task: TaskShape
    model: ModelShape
    method: MethodShape
    protocol: Name
    metrics: list[str]
    seed: int
    scores: ScoreShapes
    scores_before: ScoreShapes
    skipped: list[SkippedShape]
    case_ids: list[str]
    timing: TimingShape
    environment: dict[str, Any]
    command: str
    settings: str


def read_result(path: Path) -> Result:
    """The result in a file.

    Raises:
        RequestError: it is none; the message goes on from the name of the file: ``is not JSON: ..``.
    """
    if not path.is_file():
        raise RequestError("is not a file")
    try:
        value = load(path)
    except UnreadableError as error:
        raise RequestError(str(error)) from error
    version = value.get("schema_version") if isinstance(value, dict) else None
    if isinstance(version, bool) or not isinstance(version, int):
        raise RequestError("is not a result: it has no schema_version that is a number")
    if version != SCHEMA_VERSION:
        raise RequestError(other_version(version))
    try:
        shape = ResultShape.model_validate(value)
    except ValidationError as error:
        wrong = list(sentences(error))
        more = f"; {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise RequestError(f"is not a result: {'; '.join(wrong[:NAMED])}{more}") from error
    scores = {"scores": _scores(shape.scores), "scores_before": _scores(shape.scores_before)}
    return Result(**{name: value[name] for name in ResultShape.model_fields} | scores)


def _scores(shapes: ScoreShapes) -> Scores:
    return {
        name: {
            language: {
                metric: Score(part.mean, part.stderr, (part.ci95[0], part.ci95[1]), part.n)
                for metric, part in metrics.items()
            }
            for language, metrics in languages.items()
        }
        for name, languages in shapes.items()
    }
