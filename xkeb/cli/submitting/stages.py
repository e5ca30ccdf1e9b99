"""What is submitted, in which order: learning, the parts, joining them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from xkeb.cli.submitting.arguments import run_arguments, train_arguments
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.job import Job
from xkeb.evaluation.parts import Cell, Part

LEARN, PARTS, LEARNED, JOIN = "learn", "parts", "learned-parts", "join"


@dataclass(frozen=True)
class Task:
    """A command of ``xkeb``."""

    arguments: Sequence[str]
    part: str | None = None
    """The name of the part that it makes."""


@dataclass(frozen=True)
class Stage:
    """Commands that don't wait for one another."""

    name: str
    tasks: Sequence[Task]
    after: Mapping[str, Literal["afterok", "afterany"]] = field(default_factory=dict)
    """Stages that must be over before."""
    also_after: Collection[str] = ()
    """Jobs of the cluster that must be over before, too."""


def make_stages(
    config: RunConfig,
    cells: Sequence[Cell],
    parts: Sequence[Part],
    join: Sequence[str],
    queued: Collection[str] = (),
) -> list[Stage]:
    """The stages that make these parts. Those of methods that learn nothing wait for no learning.

    Args:
        parts: of the cells, those that are to be made.
        join: the arguments that join the parts.
        queued: jobs of the cluster that make other parts.
    """
    learning: dict[tuple[str, str], list[Job]] = {}
    for job in {part.job.name: part.job for part in parts if part.job.needs_training}.values():
        learning.setdefault((job.model, job.method), []).append(job)
    stages = [
        Stage(LEARN, [Task(train_arguments(config, jobs)) for jobs in learning.values()]),
        Stage(PARTS, [_task(config, part) for part in parts if not part.job.needs_training]),
        Stage(LEARNED, [_task(config, part) for part in parts if part.job.needs_training], {LEARN: "afterok"}),
    ]
    made = {part.job.name for part in parts}
    if any(cell.joined and cell.job.name in made for cell in cells):
        stages.append(Stage(JOIN, [Task(join)], {PARTS: "afterany", LEARNED: "afterany"}, queued))
    return [stage for stage in stages if stage.tasks]


def _task(config: RunConfig, part: Part) -> Task:
    return Task(run_arguments(config, part), part.name)
