"""The search over a grid: each point runs as a job of `xkeb run` does, on the facts of `xkeb.evaluation.tuning.facts`."""

from __future__ import annotations

import dataclasses
import itertools
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xkeb.editing.editor import editor_class, load_editor, options_of
from xkeb.errors import NotHereError, RequestError, XkebError, one_line
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.methods_asked import options_by_method
from xkeb.evaluation.planning import (
    PlannedModel,
    check_regime,
    check_request,
    make_job,
    plan_models,
    regime_of,
)
from xkeb.evaluation.runner import local_runner
from xkeb.evaluation.tuned_settings import read_settings, write_settings
from xkeb.evaluation.tuning.facts import TuningFacts, tuning_task
from xkeb.evaluation.tuning.journal import PointJournal
from xkeb.evaluation.tuning.points import (
    PointRecord,
    choose,
    failed_point,
    formula,
    measured_point,
    settings_text,
)
from xkeb.models.backbone import Backbone
from xkeb.models.loader import load_backbone
from xkeb.models.oom import detach_traceback
from xkeb.models.products import said_of
from xkeb.results.environment import describe_environment, today
from xkeb.tasks.task import Task, expand_groups, load_definitions, load_task
from xkeb.types import Sight
from xkeb.utils.hashing import digest

Report = Callable[[PointRecord, int, int], None]
"""Hears of each point that is done: the point, its number, and how many there are."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was tried, and what was chosen."""

    path: Path
    """Of the settings file."""
    model: str
    """Display name."""
    points: list[PointRecord]
    """In the order of the grid; the last option of the grid changes first."""
    chosen: int | None
    """The place of the best point; None where all failed, and then nothing is written."""
    facts: list[dict[str, Any]]
    """Of each task: which facts were asked."""


def tune(
    config: RunConfig,
    grid: Mapping[str, Sequence[Any]],
    output: Path | None = None,
    observer: RunObserver | None = None,
    report: Report | None = None,
    *,
    cross_lingual: bool = False,
) -> Tuning:
    """Tries every point of a grid on validation facts, and writes the best settings to a file.

    A point that is done is kept in a journal beside the file, and is not tried again. A point that fails is a row of the table,
    and is tried again by the next call.

    Args:
        config: one model, one method and one metric; `method_args` are the options that all points share, and `limit` is the
            number of facts of a task.
        grid: the values of each option.
        output: by default ``METHOD-MODEL.yaml``.
        cross_lingual: also ask the facts' parallels in the tasks' other languages.

    Raises:
        RequestError: the request is wrong; nothing was tried.
    """
    search = _Search(config, grid, observer or RunObserver(), cross_lingual=cross_lingual)
    path = output or Path(f"{search.method}-{search.model.name}.yaml")
    if path.exists():
        read_settings(path)  # anything else is not overwritten
    with PointJournal(path.with_name(f"{path.name}.jsonl"), overwrite=config.overwrite) as journal:
        backbone = search.load()
        points = search.run(backbone, journal, report)
    tuning = Tuning(path, search.model.name, points, choose(points), search.facts())
    if tuning.chosen is not None and backbone is not None:
        write_settings(path, search.record(tuning, backbone))
    return tuning


class _Search:
    def __init__(
        self, config: RunConfig, grid: Mapping[str, Sequence[Any]], observer: RunObserver, *, cross_lingual: bool
    ) -> None:
        check_request(config)
        (self.method,), (self.protocol,) = config.methods or (), config.protocols
        (self.metric,) = config.scored_under(self.protocol)
        self.config, self.observer, self.cross_lingual = config, observer, cross_lingual
        self.fixed = options_by_method(config.method_args).get(self.method, {})
        self.points = _points(self.method, self.fixed, grid)
        definitions = load_definitions(config.include)
        names = expand_groups(config.tasks, definitions)
        self.tasks = [
            tuning_task(
                load_task(name, data_dir=config.data_dir, definitions=definitions),
                config.limit or 0,
                cross_lingual=cross_lingual,
            )
            for name in names
        ]
        for task in self.tasks:
            _ = task.test  # read now, so that what is wrong with a file is said at once
        self.regimes = [regime_of(config, task) for task in self.tasks]
        elsewhere = any(task.pair.targets for task in self.tasks)
        if elsewhere and not cross_lingual and Sight.TARGET_ANSWER in editor_class(self.method).sees:
            raise RequestError(
                f"Method {self.method!r} is told the answer in the language that is asked, and is another method without it: "
                f"add --cross-lingual."
            )
        (self.model,) = plan_models(config)
        self.jobs = [self._jobs(point, self.model) for point in self.points]

    def _jobs(self, point: Mapping[str, Any], model: PlannedModel) -> list[Job] | str:
        """The jobs of a point, or why it fails before any weight is loaded."""
        options = {**self.fixed, **point}
        try:
            made = [make_job(self.config, task, model, self.method, options, task.test.cases) for task in self.tasks]
            jobs = [dataclasses.replace(job, retention=False) for job in made]
            for job in jobs:
                if job.needs_training:
                    job.training()
        except NotHereError:
            raise
        except RequestError as error:
            return _sentence(error)
        for job in jobs:
            check_regime(job)
        return jobs

    def load(self) -> Backbone | None:
        """The model; None where every point failed already."""
        if all(isinstance(jobs, str) for jobs in self.jobs):
            return None
        config, model = self.config, self.model
        self.observer.model_loading(model.name)
        name = f"{model.choice.plugin}:{model.name}"
        return load_backbone(name, device=config.device, dtype=config.dtype, **model.args)

    def run(self, backbone: Backbone | None, journal: PointJournal, report: Report | None) -> list[PointRecord]:
        records = []
        with tempfile.TemporaryDirectory(prefix="xkeb-tune-") as scratch:
            for number, (point, jobs) in enumerate(zip(self.points, self.jobs, strict=True), 1):
                if isinstance(jobs, str) or backbone is None:
                    record = failed_point(point, str(jobs))
                else:
                    record = self._try(point, jobs, backbone, journal, Path(scratch), number)
                records.append(record)
                if report:
                    report(record, number, len(self.points))
        return records

    def _try(
        self,
        point: Mapping[str, Any],
        jobs: Sequence[Job],
        backbone: Backbone,
        journal: PointJournal,
        scratch: Path,
        number: int,
    ) -> PointRecord:
        """A point, from the journal where it is there."""
        try:
            # Beside one another, so that they share the answers before any edit.
            placed = [job.placed(scratch / job.task.name / str(number)) for job in jobs]
            runners = [local_runner(job, backbone, self.config, self.observer) for job in placed]
            key = digest([settings.sha256 for runner in runners for settings in runner.settings])
            if key in journal.points:
                return journal.points[key].model_copy(update={"settings": dict(point)})
            results = []
            for runner in runners:
                self.observer.job_started(runner.job)
                results += runner.run()
                self.observer.job_done(runner.job, results[-1])
            record = measured_point(point, results, self.metric)
        except Exception as error:  # noqa: BLE001 - whatever a point raises costs that point
            return failed_point(point, _sentence(detach_traceback(error)))
        if record.failure is None:
            journal.append(key, record)
        return record

    def facts(self) -> list[dict[str, Any]]:
        learns = any(job.needs_training for jobs in self.jobs if not isinstance(jobs, str) for job in jobs)
        return [_facts_of(task).record(learns=learns) for task in self.tasks]

    def record(self, tuning: Tuning, backbone: Backbone) -> dict[str, Any]:
        """The contents of the settings file."""
        assert tuning.chosen is not None
        best, config, model = tuning.points[tuning.chosen], self.config, self.model
        table = [
            {**point.model_dump(mode="json"), "chosen": i == tuning.chosen} for i, point in enumerate(tuning.points)
        ]
        return {
            "method": self.method,
            "settings": {**_plain(options_of(load_editor(self.method, **self.fixed)), self.fixed), **best.settings},
            "model": {
                "name": model.name,
                "plugin": model.choice.plugin,
                "args": _plain(model.args, model.args),
                "dtype": str(backbone.dtype).removeprefix("torch."),
                "revision": backbone.revision,
                "sha256": backbone.sha256,
            },
            "score": best.score,
            "metric": self.metric,
            "protocol": self.protocol,
            "regime": ", ".join(dict.fromkeys(map(str, self.regimes))),
            "formula": formula(cross_lingual=self.cross_lingual),
            "seed": config.seed,
            "facts": tuning.facts,
            "table": table,
            "environment": describe_environment(backbone.device, said_of(backbone.model)),
            "date": today(),
            "command": config.command,
        }


def _points(method: str, fixed: Mapping[str, Any], grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every point, each value as the method reads it.

    Raises:
        RequestError: an option that the method hasn't, or has twice here, or a value that it can't have.
    """
    if twice := sorted(set(fixed) & set(grid)):
        raise RequestError(f"--grid and --method-args both set {twice[0]!r}.")
    points: list[dict[str, Any]] = []
    for values in itertools.product(*grid.values()):
        given = dict(zip(grid, values, strict=True))
        point = _plain(options_of(load_editor(method, **fixed, **given)), grid)
        if point in points:
            raise RequestError(f"--grid has the point {settings_text(point)} twice.")
        points.append(point)
    return points


def _plain(options: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Some options as JSON has them: lists for tuples."""
    plain: dict[str, Any] = json.loads(json.dumps({name: options[name] for name in names}, default=str))
    return plain


def _sentence(error: Exception) -> str:
    """Of a failure: what xkeb says itself, or the exception in one line."""
    return " ".join(str(error).split()) if isinstance(error, XkebError) else f"{one_line(error)}."


def _facts_of(task: Task) -> TuningFacts:
    assert isinstance(task.dataset, TuningFacts)
    return task.dataset
