"""What a run was asked for, checked before anything is loaded."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from xkeb.backbone import pick_device, pick_dtype
from xkeb.datasets import Loaded
from xkeb.editor import Learner, learns, load_editor, needs_of
from xkeb.errors import NotHereError, RequestError, unknown
from xkeb.metrics import DEFAULT
from xkeb.options import build
from xkeb.outline import Outline
from xkeb.plugins import plugins
from xkeb.tasks import Task, expand, load_task
from xkeb.types import Case

AUTO_BATCH = 8
"""Cases edited together when ``--batch-size`` is ``auto``."""


NEEDED: dict[str, str] = {"generality": "a rephrase", "locality": "an unrelated question"}
"""What a training fact must bring along, by the property that it teaches."""


@dataclass(frozen=True, slots=True)
class Request:
    """A run, as the command line or `xkeb.evaluate` gives it."""

    tasks: Sequence[str]
    models: Sequence[str]
    methods: Sequence[str] | None = None
    """None: the paper's methods for each model. ``["all"]``: every registered one."""
    model_args: Mapping[str, Any] = field(default_factory=dict)
    method_args: Mapping[str, Any] = field(default_factory=dict)
    """``{"METHOD.layer": 5}``"""
    metrics: Sequence[str] = DEFAULT
    protocol: Literal["teacher_forcing"] = "teacher_forcing"
    limit: int | None = None
    train_size: int | None = None
    """The first so many training facts; None for all."""
    cases: Sequence[str] = ()
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int | None = None
    seed: int = 0
    data_dir: Path | None = None
    output: Path = Path("results")
    fresh: bool = False
    include: Sequence[Path] = ()
    command: str = ""

    def options_of(self, model: str) -> dict[str, Any]:
        """The ``--model-args`` of one model: ``MODEL.option`` is for that one, ``option`` for all."""
        chosen = {}
        for key, value in self.model_args.items():
            owner = next((name for name in self.models if key.startswith(f"{name}.")), None)
            if owner in (None, model):
                chosen[key.removeprefix(f"{model}.")] = value
        return chosen


@dataclass(frozen=True)
class Cell:
    """One cell of the table: a task, a model, a method."""

    task: Task
    model: str
    method: str
    options: Mapping[str, Any]
    cases: Sequence[Case]
    folder: Path
    """Where its files go; the method's name is the last part."""
    learns: bool
    """Whether the method, with these options, learns from the training facts of the source language. One that depends on
    the backbone for it may do so although this says no."""
    outline: Outline | None
    """Of the model; None where its plugin gives none."""
    train_size: int | None = None
    """The first so many of them; None for all."""

    def training(self) -> Sequence[Case]:
        """The facts that the method learns from, none for one that can't learn."""
        if not isinstance(load_editor(self.method, **self.options), Learner):
            return ()
        return training_facts(self.method, self.task.training, self.train_size)

    @property
    def name(self) -> str:
        return f"{self.task.name} / {self.model} / {self.method}"


def plan(request: Request, absent: list[str] | None = None) -> list[Cell]:
    """The cells of a run, models outermost, with every name, option and file checked.

    Args:
        absent: takes what is not on this machine, a sentence each, where that is no error. A cell without its data has no
            cases then.

    Raises:
        RequestError: the first thing that is wrong.
    """
    _check_numbers(request)
    pick_dtype(request.dtype, pick_device(request.device))
    for metric in request.metrics:
        plugins().metrics.get(metric)
    tasks = [
        load_task(name, data_dir=request.data_dir, include=request.include)
        for name in expand(request.tasks, request.include)
    ]
    selected = {task.name: _unless_absent(functools.partial(_select, task, request), absent) for task in tasks}
    cells: list[Cell] = []
    sources: dict[str, Any] = {}
    options = _options_by_method(request.method_args)
    for model in dict.fromkeys(request.models):
        source = plugins().models.get(model)
        sources[model] = build("model", model, source, request.options_of(model))
        for task in tasks:
            for method in _methods(request, source):
                chosen = _with_seed(method, options.get(method, {}), request.seed)
                folder = request.output / task.name / model / method
                to_learn = learns(load_editor(method, **chosen))
                cases = selected[task.name]
                cell = Cell(task, model, method, chosen, cases, folder, to_learn, None, request.train_size)
                if to_learn:  # read now, so that a missing file, or one that lacks something, is found at once
                    _unless_absent(cell.training, absent)
                cells.append(cell)
    used = {cell.method for cell in cells}
    for method in options:
        if method not in used:
            raise RequestError(
                f"--method-args sets options of {method!r}, which is not a method of this run: {', '.join(sorted(used))}."
            )
    _check_output(request.output)
    outlines = {model: _outline(model, source, absent) for model, source in sources.items()}
    return [dataclasses.replace(cell, outline=outlines[cell.model]) for cell in cells]


def _unless_absent(read: Callable[[], Sequence[Case]], absent: list[str] | None) -> Sequence[Case]:
    """What is read; nothing where it is absent and that may be."""
    try:
        return read()
    except NotHereError as error:
        _note(error, absent)
        return ()


def _outline(name: str, source: Any, absent: list[str] | None) -> Outline | None:
    """Found before anything is computed, so that a folder that is not the model's is refused then."""
    outline: Outline | None = source.outline() if hasattr(source, "outline") else None
    if outline is not None and outline.missing and not outline.download:
        _note(NotHereError(f"Model {name!r} can't be loaded: {outline.missing}."), absent)
    return outline


def _note(error: NotHereError, absent: list[str] | None) -> None:
    if absent is None:
        raise error
    if str(error) not in absent:
        absent.append(str(error))


def _check_numbers(request: Request) -> None:
    if request.limit is not None and request.limit < 1:
        raise RequestError(f"--limit must be at least 1, not {request.limit}.")
    if request.batch_size is not None and request.batch_size < 1:
        raise RequestError(f"--batch-size must be auto or at least 1, not {request.batch_size}.")
    if request.train_size is not None and request.train_size < 1:
        raise RequestError(f"--train-size must be at least 1, not {request.train_size}.")
    for flag, values in (("--tasks", request.tasks), ("--model", request.models), ("--metrics", request.metrics)):
        if not values:
            raise RequestError(f"{flag} names nothing.")


def _select(task: Task, request: Request) -> list[Case]:
    """The cases asked for: those named, or the first `limit`."""
    cases = list(task)
    if request.cases:
        known = {case.id: case for case in cases}
        reasons = {skip.case_id: skip.reason for skip in task.loaded.skipped}
        for case_id in request.cases:
            if case_id in reasons:
                raise RequestError(f"Case {case_id!r} of {task.name!r} can't be run: {reasons[case_id]}.")
            if case_id not in known:
                raise unknown(f"case of {task.name!r}:", case_id, known if len(known) < 20 else [])
        cases = [known[case_id] for case_id in dict.fromkeys(request.cases)]
    if not cases:
        skipped = task.loaded.skipped
        first = f"; the first: {skipped[0].reason}" if skipped else ""
        raise RequestError(
            f"Task {task.name!r} has no case that can be run: {len(skipped)} records, all skipped{first}."
        )
    return cases[: request.limit]


def _methods(request: Request, source: type[Any]) -> list[str]:
    catalogue = plugins().methods
    if request.methods is None:
        own = getattr(source, "methods", None)
        return list(own) if own else [name for name in catalogue if getattr(catalogue.get(name), "in_paper", False)]
    if list(request.methods) == ["all"]:
        return list(catalogue)
    return list(dict.fromkeys(request.methods))


def _options_by_method(method_args: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """``{"METHOD.layer": 5}`` as ``{"METHOD": {"layer": 5}}``."""
    options: dict[str, dict[str, Any]] = {}
    for key, value in method_args.items():
        method, dot, option = key.rpartition(".")
        if not dot:
            raise RequestError(f"--method-args takes method.option=value, not {key!r}.")
        options.setdefault(method, {})[option] = value
    return options


def _with_seed(method: str, options: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The options, checked by building the editor once, with the run's seed where the method takes one."""
    editor = load_editor(method, **options)
    return {"seed": seed, **options} if hasattr(editor, "seed") else dict(options)


def training_facts(method: str, training: Loaded, size: int | None = None) -> Sequence[Case]:
    """Of a training file the first `size` facts that the method can learn from.

    Raises:
        RequestError: there are none; says what they lack.
    """
    needs = needs_of(plugins().methods.get(method))
    able = [case for case in training.cases if needs <= {probe.property for probe in case.probes}]
    if not able:
        wanted = " and ".join(NEEDED[name] for name in sorted(needs)) or "an answer"
        raise RequestError(
            f"Method {method!r} learns from facts with {wanted}; none of the {len(training.cases)} in {training.path} has that."
        )
    return able[:size]


def _check_output(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / ".xkeb-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RequestError(f"Can't write to the output folder {output}: {error.strerror}.") from error
