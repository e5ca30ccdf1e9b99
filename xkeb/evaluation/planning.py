"""From a configuration to jobs: every name, option and file is checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from xkeb.editing.editor import Editor, load_editor, why_no_sequence
from xkeb.errors import NotHereError, RequestError, unknown
from xkeb.evaluation.config import ModelChoice, RunConfig, check_folder_name
from xkeb.evaluation.executors.choice import make_executor
from xkeb.evaluation.job import Job
from xkeb.evaluation.measurements import Measurement, load_protocols
from xkeb.evaluation.methods_asked import (
    ALL,
    check_methods,
    methods_asked,
    options_by_method,
    options_of_settings,
    with_seed,
)
from xkeb.evaluation.protocols import Protocol
from xkeb.evaluation.tuned_settings import read_settings
from xkeb.models.device import pick_device, pick_dtype
from xkeb.models.loader import BackboneLoader, display_name, find_skeleton, make_loader
from xkeb.models.prompts import qa_words
from xkeb.models.skeleton import Skeleton
from xkeb.registry.manager import get_plugins
from xkeb.results.regime import Regime
from xkeb.tasks.task import Task, expand_groups, load_definitions, load_task
from xkeb.types import PROMPT_STYLES, Case, PromptStyle
from xkeb.utils.case_names import named_cases
from xkeb.utils.names import folder_below

Purpose = Literal["run", "estimate", "train"]
"""What the jobs are for: ``run`` needs everything; ``estimate`` notes what is missing and writes nothing; ``train`` needs
training facts only."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs of a run, models outermost."""

    jobs: list[Job]
    absent: list[str] = field(default_factory=list)
    """What an estimate does without, since it isn't on this machine: a sentence each. A job without its data has no cases."""


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model of the run."""

    choice: ModelChoice
    args: Mapping[str, Any]
    name: str
    """Display name."""
    loader: BackboneLoader
    skeleton: Skeleton | None


def plan_run(config: RunConfig, purpose: Purpose = "run") -> Plan:
    """The jobs of a run.

    Raises:
        RequestError: the first thing that is wrong.
    """
    return _Planner(config, purpose).plan()


class _Planner:
    def __init__(self, config: RunConfig, purpose: Purpose) -> None:
        self.config, self.purpose = config, purpose
        self.protocols = load_protocols(config)
        self.absent: list[str] = []

    def plan(self) -> Plan:
        config = self.config
        check_request(config)
        definitions = load_definitions(config.include)
        tasks = [
            load_task(name, data_dir=config.data_dir, definitions=definitions)
            for name in expand_groups(config.tasks, definitions)
        ]
        for task in tasks:
            for protocol in self.protocols:
                protocol.check_task(task)
                _check_prompt(protocol, prompt_of(config, task), task)
            _check_damage(config, regime_of(config, task))
        cases = {task.name: self._select(task) for task in tasks}
        tuned = [read_settings(Path(path)) for path in config.settings]
        own = options_by_method({**options_of_settings(tuned), **config.method_args})
        options = options_by_method(config.method_defaults)
        for method, chosen in own.items():
            options[method] = options.get(method, {}) | chosen
        check_methods(config, options)
        models = plan_models(config)
        jobs = [
            self._job(task, model, method, options.get(method, {}), cases[task.name])
            for model in models
            for task in tasks
            for method in methods_asked(config, model.loader, options)
        ]
        for settings in tuned:
            settings.check(jobs)
        _check_used(own, jobs)
        if self.purpose == "run":
            _check_output(config.output)
        for model in models:  # last, so that what is wrong with the request itself is said first
            self._note_missing(model)
        return Plan(jobs, self.absent)

    def _job(
        self, task: Task, model: PlannedModel, method: str, options: Mapping[str, Any], cases: Sequence[Case]
    ) -> Job:
        job = make_job(self.config, task, model, method, options, cases)
        if self.purpose != "train":
            check_regime(job)
        if job.needs_training:  # read now, so that a missing file, or one that lacks something, is found at once
            self._unless_absent(job.training, [])
        elif self.purpose == "train" and model.skeleton is not None:
            raise RequestError(f"Method {method!r} learns nothing on {model.name!r} with these options.")
        return job

    def _select(self, task: Task) -> Sequence[Case]:
        """The cases asked for: those named, or the first `limit`."""
        if self.purpose == "train":
            return ()
        return self._unless_absent(lambda: _select_cases(task, self.config), ())

    def _unless_absent(self, read: Callable[[], Sequence[Case]], otherwise: Sequence[Case]) -> Sequence[Case]:
        """What is read; `otherwise` where it is absent and that may be."""
        try:
            return read()
        except NotHereError as error:
            self._note(error)
            return otherwise

    def _note_missing(self, model: PlannedModel) -> None:
        skeleton = model.skeleton
        if skeleton is not None and skeleton.missing and not skeleton.download:
            self._note(NotHereError(f"Model {model.name!r} can't be loaded: {skeleton.missing}."))

    def _note(self, error: NotHereError) -> None:
        if self.purpose != "estimate":
            raise error
        if str(error) not in self.absent:
            self.absent.append(str(error))


def check_request(config: RunConfig) -> None:
    """Refuses a number, a device or a name that can't be, before any file is read.

    Raises:
        RequestError: the first thing that is wrong.
    """
    _check_numbers(config)
    pick_dtype(config.dtype, pick_device(config.device))
    _check_names(config)


def plan_models(config: RunConfig) -> list[PlannedModel]:
    """The models of a run, with what is known of each before its weights are loaded.

    Raises:
        RequestError: two have one name, or one can't be loaded.
    """
    models: dict[str, PlannedModel] = {}
    for choice in config.model_choices():
        args = config.options_of(choice)
        loader = make_loader(choice.plugin, **args)
        name = choice.name or display_name(choice.plugin, loader)
        check_folder_name(name)
        if name in models:
            raise RequestError(
                f"Two models of this run are called {name!r}; give one another name: --model {choice.plugin}:NAME."
            )
        models[name] = PlannedModel(choice, args, name, loader, find_skeleton(loader))
    return list(models.values())


def make_job(
    config: RunConfig,
    task: Task,
    model: PlannedModel,
    method: str,
    options: Mapping[str, Any],
    cases: Sequence[Case],
) -> Job:
    """A job, its editor configured where the model's skeleton is known.

    Raises:
        RequestError: an option that the method hasn't, or a value that it or the model can't have.
    """
    prompt, regime = prompt_of(config, task), regime_of(config, task)
    chosen = with_seed(method, options, config.seed)
    editor: Editor = load_editor(method, **chosen)
    if model.skeleton is not None:
        editor = editor.configure(model.skeleton.spec(model.name))
    return Job(
        task=task,
        model=model.name,
        choice=model.choice,
        model_args=model.args,
        method=method,
        options=chosen,
        editor=editor,
        cases=cases,
        selection=config.selection,
        measurements=[
            Measurement(
                protocol,
                config.scored_under(protocol.name),
                _folder(config, task, model, protocol.folder(method, prompt) + regime.suffix),
            )
            for protocol in load_protocols(config)
        ],
        skeleton=model.skeleton,
        train_size=config.train_size,
        prompt=prompt,
        regime=regime,
        damage=config.damage,
    )


def _folder(config: RunConfig, task: Task, model: PlannedModel, own: str) -> Path:
    """Where a measurement's files go: below the output folder, whatever its parts are called."""
    try:
        return folder_below(config.output, task.name, model.name, own)
    except ValueError as error:
        raise RequestError(f"{task.name!r} / {model.name!r} / {own!r} can't be folders: {error}.") from error


def prompt_of(config: RunConfig, task: Task) -> PromptStyle:
    """How the questions of a task are put.

    Raises:
        RequestError: there is no such style.
    """
    for style in PROMPT_STYLES:
        if style == (config.prompt or task.prompt):
            return style
    raise unknown("prompt style", str(config.prompt), PROMPT_STYLES)


def regime_of(config: RunConfig, task: Task) -> Regime:
    """How many edits a model gets on a task, and when it is asked.

    Raises:
        RequestError: there is no such regime, or it isn't asked at that point.
    """
    if config.regime is not None:
        return Regime.parse(config.regime, config.evaluate)
    return task.regime if config.evaluate is None else Regime.parse(task.regime.asked, config.evaluate)


def _check_damage(config: RunConfig, regime: Regime) -> None:
    if config.damage and regime.is_single:
        raise RequestError(
            "--damage measures a model that keeps its edits, and --regime single takes each edit back; --regime sequential:1 "
            "measures one edit at a time."
        )


def check_regime(job: Job) -> None:
    """Refuses a regime that the method can't follow, or that the data is too little for.

    Raises:
        RequestError: says which.
    """
    regime = job.regime
    if regime.is_single:
        return
    if reason := why_no_sequence(job.editor, regime.batch):
        raise RequestError(f"Method {job.method!r} can't follow --regime {regime.asked}: {reason}.")
    if job.cases and len(job.cases) < regime.edits:
        raise RequestError(
            f"--regime {regime.asked} makes {regime.edits} edits on one model, and {job.task.name!r} has {len(job.cases)} "
            "cases here."
        )


def _check_prompt(protocol: Protocol, prompt: PromptStyle, task: Task) -> None:
    """Refuses a style that the protocol or a language of the task can't follow."""
    protocol.check_prompt(prompt)
    if prompt == "qa":
        for code in task.pair.languages:
            qa_words(get_plugins().languages.get(code))


def _check_numbers(config: RunConfig) -> None:
    if config.limit is not None and config.limit < 1:
        raise RequestError(f"--limit must be at least 1, not {config.limit}.")
    if config.batch_size is not None and config.batch_size < 1:
        raise RequestError(f"--batch-size must be auto or at least 1, not {config.batch_size}.")
    if config.train_size is not None and config.train_size < 1:
        raise RequestError(f"--train-size must be at least 1, not {config.train_size}.")


def _check_names(config: RunConfig) -> None:
    metrics = [metric for protocol in load_protocols(config) for metric in config.scored_under(protocol.name)]
    for flag, values in (("--tasks", config.tasks), ("--model", config.models), ("--metrics", metrics)):
        if not values:
            raise RequestError(f"{flag} names nothing.")
    if config.methods is not None and not config.methods:
        raise RequestError("--methods names nothing; without it, the paper's methods run.")
    if config.methods is not None and ALL in config.methods and len(config.methods) > 1:
        others = ", ".join(name for name in config.methods if name != ALL)
        raise RequestError(f"--methods all runs every method; leave out {others}, or leave out all.")
    if config.data_dir is not None and not Path(config.data_dir).expanduser().is_dir():
        raise RequestError(f"There is no folder {config.data_dir}, which --data-dir names.")
    for metric in metrics:
        get_plugins().metrics.get(metric)
    make_executor(config)
    for observer in config.observers:
        get_plugins().observers.entry(observer)


def _check_used(options: Mapping[str, Any], jobs: Sequence[Job]) -> None:
    used = {job.method for job in jobs}
    for method in options:
        if method not in used:
            raise RequestError(
                f"--method-args sets options of {method!r}, which is not a method of this run: {', '.join(sorted(used))}."
            )


def _select_cases(task: Task, config: RunConfig) -> list[Case]:
    cases = list(task)
    if config.cases:
        by_id = {case.id: case for case in cases}
        reasons = {skip.case_id: skip.reason for skip in task.test.skipped}
        named = named_cases(config.cases, by_id)
        for case_id in named:
            if case_id in reasons:
                raise RequestError(f"Case {case_id!r} of {task.name!r} can't be run: {reasons[case_id]}.")
            if case_id not in by_id:
                raise unknown(f"case of {task.name!r}:", case_id, by_id)
        cases = [by_id[case_id] for case_id in named]
    if not cases:
        skipped = task.test.skipped
        first = f"; the first: {skipped[0].reason}" if skipped else ""
        raise RequestError(
            f"Task {task.name!r} has no case that can be run: {len(skipped)} records, all skipped{first}."
        )
    return cases[: config.limit]


def _check_output(output: Path) -> None:
    """Refuses a folder that can't be written."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / ".xkeb-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        if output.is_file():
            raise RequestError(f"{output} is a file; choose a folder with --output.") from error
        raise RequestError(f"Can't write to the output folder {output}: {error.strerror}.") from error
