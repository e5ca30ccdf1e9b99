"""The points of a grid: how the method did at each, and which is the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Literal, get_args

from pydantic import Field

from xkeb.evaluation.tuning.facts import ASKED
from xkeb.results.fields import Count, Percent, Record, Seconds
from xkeb.results.result import Result

Measured = Literal["reliability", "generality", "locality", "other_generality", "other_locality"]
"""What is measured at a point: in the language of the edit, and in the other languages that are asked in."""


class PointRecord(Record):
    """One row of the table: the values of a point, and how the method did with them."""

    settings: dict[str, Any]
    """Of the options in the grid."""
    edited: dict[str, Count]
    """Facts that the method could edit, by task."""
    refused: dict[str, str]
    """By task, why it couldn't edit the first of the others, if there are any."""
    means: dict[Measured, Percent]
    """The metric, times 100: mean over the facts of a task, then over its other languages, then over tasks."""
    tasks: dict[str, dict[Measured, Percent]]
    """The same of each task."""
    left_out: dict[Measured, tuple[Count, Count]] = Field(default_factory=dict)
    """Of locality, the questions that the model answers with nothing before any edit, and how many there are; of all tasks."""
    score: Percent | None
    """The mean of `means`; None where the point failed."""
    seconds: Seconds
    """For learning, editing and asking; what was learned before is in the cache."""
    failure: str | None
    """Why the point can't be chosen."""

    @property
    def facts(self) -> int:
        """Facts that the method could edit."""
        return sum(self.edited.values())


def measured_point(point: Mapping[str, Any], results: Sequence[Result], metric: str) -> PointRecord:
    """A point from the results of its tasks. A task in which the method could edit no fact doesn't count."""
    done = [result for result in results if result.case_ids]
    if not done:
        reason = results[0].skipped[0].reason
        return failed_point(point, f"It can edit none of the facts; the first: {reason}.")
    tasks = {result.task.name: _means(result, metric) for result in done}
    means = {
        name: fmean(of_task[name] for of_task in tasks.values() if name in of_task)
        for name in get_args(Measured)
        if any(name in of_task for of_task in tasks.values())
    }
    phases = [result.timing.phases for result in done]
    return PointRecord(
        settings=dict(point),
        edited={result.task.name: len(result.case_ids) for result in results},
        refused={result.task.name: result.skipped[0].reason for result in results if result.skipped},
        means=means,
        tasks=tasks,
        left_out=_left_out(done),
        score=fmean(means.values()),
        seconds=round(sum(one.fit + one.edit + one.evaluate for one in phases), 2),
        failure=None,
    )


def _means(result: Result, metric: str) -> dict[Measured, float]:
    """What was measured in the language of the edit, and the mean over the others."""
    source = result.task.source
    found: dict[str, float] = {}
    for name in ASKED:
        by_language = {code: scores[metric].mean for code, scores in result.scores.get(name, {}).items()}
        others = [mean for code, mean in by_language.items() if code != source]
        found |= {name: by_language[source]} if source in by_language else {}
        found |= {f"other_{name}": fmean(others)} if others else {}
    return {name: found[name] for name in get_args(Measured) if name in found}


def _left_out(results: Sequence[Result]) -> dict[Measured, tuple[int, int]]:
    counts: dict[Measured, tuple[int, int]] = {}
    for result in results:
        for code, blank in result.blank.items():
            name: Measured = "locality" if code == result.task.source else "other_locality"
            n, whole = counts.get(name, (0, 0))
            counts[name] = (n + blank.n, whole + blank.asked)
    return counts


def failed_point(point: Mapping[str, Any], reason: str) -> PointRecord:
    return PointRecord(
        settings=dict(point), edited={}, refused={}, means={}, tasks={}, score=None, seconds=0.0, failure=reason
    )


def formula(*, cross_lingual: bool) -> str:
    """What the score is, for the settings file."""
    also = " in the edit's language, and of generality and locality in the others" if cross_lingual else ""
    return (
        f"score = mean of reliability, generality and locality{also}, of those that were measured; each is 100 times the "
        "metric, mean over the facts of a task, then over the tasks; locality compares the answers after and before the "
        "edit; of equal scores the first in the table wins"
    )


def choose(points: Sequence[PointRecord]) -> int | None:
    """The place of the best point; None where all failed.

    Points that could edit fewer facts than another are not compared with it. Of equal ones the first wins.
    """
    worked = [i for i, point in enumerate(points) if point.score is not None]
    most = max((points[i].facts for i in worked), default=0)
    return max((i for i in worked if points[i].facts == most), key=lambda i: points[i].score or 0.0, default=None)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Options as a sentence has them: ``layer=8, lr=0.1``."""
    return ", ".join(f"{name}={value}" for name, value in settings.items())
