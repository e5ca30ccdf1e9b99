"""xkeb: a benchmark suite for cross-lingual knowledge editing of language models.

What needs torch is imported when it is first used, so that ``import xkeb`` and the command line stay quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

from xkeb.errors import NotHereError, PluginError, PluginWarning, RequestError, XkebError
from xkeb.registry.hookspecs import hookimpl
from xkeb.types import Case, Direction, Edit, Language, LanguagePair, Missing, Prediction, Probe, Query, Sight, Skipped

if TYPE_CHECKING:
    from xkeb.data import Dataset
    from xkeb.editing.changes import Change, ContextChange, DenseChange, LowRankChange, load_change
    from xkeb.editing.editor import Editor, load_editor
    from xkeb.editing.training import TrainingError
    from xkeb.evaluation.api import evaluate
    from xkeb.evaluation.events import RunObserver
    from xkeb.evaluation.job import JobError
    from xkeb.models.backbone import Backbone
    from xkeb.models.loader import load_backbone
    from xkeb.models.oom import OutOfMemoryError
    from xkeb.models.spec import ModelSpec
    from xkeb.results.result import Result
    from xkeb.results.scores import Score
    from xkeb.tasks.task import Task, load_task

_LAZY = {
    "Backbone": "models.backbone",
    "Change": "editing.changes",
    "ContextChange": "editing.changes",
    "Dataset": "data",
    "DenseChange": "editing.changes",
    "Editor": "editing.editor",
    "JobError": "evaluation.job",
    "LowRankChange": "editing.changes",
    "ModelSpec": "models.spec",
    "OutOfMemoryError": "models.oom",
    "Result": "results.result",
    "RunObserver": "evaluation.events",
    "Score": "results.scores",
    "Task": "tasks.task",
    "TrainingError": "editing.training",
    "evaluate": "evaluation.api",
    "load_backbone": "models.loader",
    "load_change": "editing.changes",
    "load_editor": "editing.editor",
    "load_task": "tasks.task",
}

__all__ = [
    "Backbone",
    "Case",
    "Change",
    "ContextChange",
    "Dataset",
    "DenseChange",
    "Direction",
    "Edit",
    "Editor",
    "JobError",
    "Language",
    "LanguagePair",
    "LowRankChange",
    "Missing",
    "ModelSpec",
    "NotHereError",
    "OutOfMemoryError",
    "PluginError",
    "PluginWarning",
    "Prediction",
    "Probe",
    "Query",
    "RequestError",
    "Result",
    "RunObserver",
    "Score",
    "Sight",
    "Skipped",
    "Task",
    "TrainingError",
    "XkebError",
    "evaluate",
    "hookimpl",
    "load_backbone",
    "load_change",
    "load_editor",
    "load_task",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # slower than all the rest of this package's import

        return metadata.version("xkeb")  # said in pyproject.toml, and nowhere else
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"xkeb.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
