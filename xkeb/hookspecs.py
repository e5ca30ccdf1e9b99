"""The hooks. A plugin implements those it needs with ``@xkeb.hookimpl``; each is called once, when the catalogues are
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
    from xkeb.datasets import Dataset
    from xkeb.metrics import Metric

PROJECT = "xkeb"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_editors(register: Callable[[str, type[Any] | str], None]) -> None:
    """Editing methods: a class whose fields are its options and which has ``edit`` (see `xkeb.editor.Editor`)."""


@hookspec
def register_backbones(register: Callable[[str, type[Any] | str], None]) -> None:
    """Backbones: a class whose fields are ``--model-args`` and which has ``load`` (see `xkeb.backbone.Source`)."""


@hookspec
def register_languages(register: Callable[[str, Language | str], None]) -> None:
    """Languages, by ISO 639-1 code."""


@hookspec
def register_language_pairs(register: Callable[[str, LanguagePair | str], None]) -> None:
    """Directions, named ``source-target``."""


@hookspec
def register_metrics(register: Callable[[str, Metric | str], None]) -> None:
    """Metrics: functions of two predictions and their language, from 0 to 1 (see `xkeb.metrics.Metric`)."""


@hookspec
def register_datasets(register: Callable[[str, Dataset | str], None]) -> None:
    """Data sets: how upstream files become cases (see `xkeb.datasets.Dataset`)."""


@hookspec
def register_tasks(register: Callable[[str, Path], None]) -> None:
    """Folders of YAML tasks, each under the name of who ships it."""
