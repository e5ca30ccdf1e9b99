"""The catalogues: every method, backbone, language, pair, metric, data set and task folder, by name."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pluggy

from xkeb import hookspecs
from xkeb.errors import PluginError, unknown

BUILTINS = (
    "xkeb.metrics",
    "xkeb_plugins.datasets",
    "xkeb_plugins.languages",
    "xkeb_plugins.methods",
    "xkeb_plugins.models",
    "xkeb_tasks",
)
"""Modules of hooks that come with the suite; third parties use the entry-point group ``xkeb``."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered name."""

    thing: Any
    plugin: str

    def load(self) -> Any:
        """The thing itself; imports it where only its place was registered."""
        if not isinstance(self.thing, str):
            return self.thing
        module, _, attribute = self.thing.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise PluginError(
                f"Plugin {self.plugin!r} registered {self.thing!r}, which can't be imported: {error}."
            ) from error


@dataclass(slots=True)
class Catalogue:
    """Names of one kind. Iterates them sorted, since pluggy calls the last registered plugin first."""

    kind: str
    entries: dict[str, Entry] = field(default_factory=dict)

    def register(self, plugin: str, name: str, thing: Any) -> None:
        if name in self.entries:
            raise PluginError(
                f"Two plugins register the {self.kind} {name!r}: {self.entries[name].plugin!r} and {plugin!r}."
            )
        self.entries[name] = Entry(thing, plugin)

    def get(self, name: str) -> Any:
        """The thing of that name; an unknown one raises `RequestError` with the nearest name."""
        if name not in self.entries:
            raise unknown(self.kind, name, self.entries)
        return self.entries[name].load()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.entries))

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __len__(self) -> int:
        return len(self.entries)


KINDS = {
    "methods": ("method", "register_editors"),
    "models": ("model", "register_backbones"),
    "languages": ("language", "register_languages"),
    "pairs": ("language pair", "register_language_pairs"),
    "metrics": ("metric", "register_metrics"),
    "datasets": ("data set", "register_datasets"),
    "task_folders": ("task folder", "register_tasks"),
}


class Plugins:
    """A plugin manager and the catalogues that its plugins filled."""

    def __init__(self, *, entry_points: bool = True) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        for name in BUILTINS:
            self.manager.register(importlib.import_module(name), name)
        if entry_points:
            self.manager.load_setuptools_entrypoints(hookspecs.PROJECT)
        try:
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(f"A plugin implements a hook that does not exist: {error}") from error
        for plugin, module in self.manager.list_name_plugin():
            _refuse_misspelt_hooks(plugin, module)
        for attribute, (kind, hook) in KINDS.items():
            catalogue = Catalogue(kind)
            setattr(self, attribute, catalogue)
            for implementation in getattr(self.manager.hook, hook).get_hookimpls():
                implementation.function(functools.partial(catalogue.register, implementation.plugin_name))

    methods: Catalogue
    models: Catalogue
    languages: Catalogue
    pairs: Catalogue
    metrics: Catalogue
    datasets: Catalogue
    task_folders: Catalogue

    def names(self) -> list[str]:
        """The plugins themselves, built-in and installed."""
        return sorted(name for name, module in self.manager.list_name_plugin() if module is not None)


def _refuse_misspelt_hooks(plugin: str, module: object) -> None:
    """pluggy notices a misspelt hook only where it carries the marker; a ``register_...`` without it is silence."""
    if not inspect.ismodule(module):
        return
    hooks = {hook for _, hook in KINDS.values()}
    for name, function in vars(module).items():
        if name.startswith("register_") and getattr(function, "__module__", None) == module.__name__:
            if name not in hooks:
                raise PluginError(
                    f"Plugin {plugin!r} has {name!r}, which is no hook; the hooks are {', '.join(sorted(hooks))}."
                )
            if not hasattr(function, f"{hookspecs.PROJECT}_impl"):
                raise PluginError(
                    f"Plugin {plugin!r} has {name!r} without @xkeb.hookimpl, so it would never be called."
                )


@functools.cache
def plugins() -> Plugins:
    """The catalogues of this process, read on first use."""
    return Plugins()
