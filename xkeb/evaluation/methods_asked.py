"""Which methods a run is asked for, and their options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xkeb.editing.editor import editor_class, load_editor
from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.tuned_settings import TunedSettings
from xkeb.models.loader import BackboneLoader, SuggestingLoader
from xkeb.registry.manager import get_plugins
from xkeb.tasks.asked import PAPER
from xkeb.types import Sight

ALL = "all"
"""In the place of methods: those that need no option and aren't told the answer in the language that is asked."""


def methods_asked(config: RunConfig, loader: BackboneLoader, options: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The methods asked for; by default those that the paper runs on the model.

    Args:
        options: by method.
    """
    registry = get_plugins().methods
    if config.methods is None:
        suggested = loader.methods if isinstance(loader, SuggestingLoader) else registry
        names = [name for name in suggested if suggested is not registry or editor_class(name).in_paper]
        return names if PAPER not in config.protocols else [editor_class(name).released_as or name for name in names]
    if list(config.methods) == [ALL]:
        classes = {name: editor_class(name) for name in registry}
        return [
            name
            for name, found in classes.items()
            if found.required_options <= options.get(name, {}).keys() and Sight.TARGET_ANSWER not in found.sees
        ]
    return list(dict.fromkeys(config.methods))


def check_methods(config: RunConfig, options: Mapping[str, Mapping[str, Any]]) -> None:
    """Looks at the names of methods and their options before the models, of which one may have to be converted first."""
    for method in dict.fromkeys(config.methods or ()):
        if method != ALL:
            load_editor(method, **options.get(method, {}))


def options_of_settings(tuned: Sequence[TunedSettings]) -> dict[str, Any]:
    """The options of some files, as ``--method-args`` has them."""
    return {name: value for settings in tuned for name, value in settings.method_args.items()}


def options_by_method(method_args: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """``{"METHOD.layer": 5}`` as ``{"METHOD": {"layer": 5}}``."""
    options: dict[str, dict[str, Any]] = {}
    for key, value in method_args.items():
        method, dot, option = key.rpartition(".")
        if not dot:
            raise RequestError(f"--method-args takes METHOD.OPTION=VALUE; {key!r} names no method.")
        options.setdefault(method, {})[option] = value
    return options


def with_seed(method: str, options: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The options, checked by building the editor once, with the run's seed where the method takes one."""
    editor = load_editor(method, **options)
    return {"seed": seed, **options} if hasattr(editor, "seed") else dict(options)
