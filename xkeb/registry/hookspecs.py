"""The hooks. A plugin implements those it needs with ``@xkeb.hookimpl``; each is called once, when the registries are
first read. ``register(name, thing)`` takes the thing itself or, so that listing it imports nothing heavy, where it
stands: ``"package.module:attribute"``.

The hooks and their arguments are the version of this interface. A plugin with a hook that isn't here is left out, with a
warning, unless it can do without and says so: ``@xkeb.hookimpl(optionalhook=True)``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from xkeb.types import Language, LanguagePair

if TYPE_CHECKING:
    from xkeb.data.dataset import Dataset
    from xkeb.types import AroundMetric, Metric

PROJECT = "xkeb"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_editors(register: Callable[[str, type[Any] | str], None]) -> None:
    """Editing methods: a class whose fields are its options and which has ``edit`` (see `xkeb.Editor`)."""


@hookspec
def register_backbones(register: Callable[[str, type[Any] | str], None]) -> None:
    """Backbones: a class whose fields are ``--model-args`` and which has ``load`` (see `xkeb.models.loader.BackboneLoader`)."""


@hookspec
def register_languages(register: Callable[[str, Language | str], None]) -> None:
    """Languages, by ISO 639-1 code."""


@hookspec
def register_language_pairs(register: Callable[[str, LanguagePair | str], None]) -> None:
    """Directions, named ``source-target``."""


@hookspec
def register_metrics(register: Callable[[str, Metric | AroundMetric | str], None]) -> None:
    """Metrics: functions of two predictions and their language, from 0 to 1 (see `xkeb.types.Metric`). One with a parameter
    `around` is given the answer before the edit, too, and may say that it can't tell (`xkeb.types.AroundMetric`)."""


@hookspec
def register_datasets(register: Callable[[str, Dataset | str], None]) -> None:
    """Data sets: how upstream files become cases (see `xkeb.data.dataset.Dataset`)."""


@hookspec
def register_tasks(register: Callable[[str, Path], None]) -> None:
    """Folders of YAML tasks, each under the name of who ships it."""


@hookspec
def register_executors(register: Callable[[str, Callable[..., Any] | str], None]) -> None:
    """Executors: a function that runs the jobs of a plan and returns their results (see `xkeb.evaluation.executors.Executor`),
    or a class whose fields are its options and whose instances do; ``--executor NAME`` chooses it."""


@hookspec
def register_observers(register: Callable[[str, type[Any] | str], None]) -> None:
    """Observers: a subclass of `xkeb.RunObserver`, whose constructor's arguments are its options; ``--observe NAME`` has it
    watch a run."""
