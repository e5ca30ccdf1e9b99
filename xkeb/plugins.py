"""The catalogues: every method, backbone, language, pair, metric, data set and task folder, by name."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pluggy

from xkeb import hookspecs
from xkeb.errors import PluginError, PluginWarning, one_line, unknown
from xkeb.installed import Installed, check_hooks, installed

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
    package: Installed | None = None
    """Where the plugin comes from; None of a built-in."""

    def load(self) -> Any:
        """The thing itself; imports it where only its place was registered."""
        if not isinstance(self.thing, str):
            return self.thing
        module, _, attribute = self.thing.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
            raise PluginError(
                f"Plugin {self.package or repr(self.plugin)} registered {self.thing!r}, which can't be imported: "
                f"{one_line(error)}."
            ) from error


@dataclass(slots=True)
class Catalogue:
    """Names of one kind. Iterates them sorted, since pluggy calls the last registered plugin first."""

    kind: str
    entries: dict[str, Entry] = field(default_factory=dict)
    disputed: dict[str, str] = field(default_factory=dict)
    """Names that are nobody's, since two packages claim them; and the sentence that says so."""

    def register(self, plugin: str, name: str, thing: Any, package: Installed | None = None) -> None:
        if name in self.entries:
            raise PluginError(
                f"Two plugins register the {self.kind} {name!r}: {self.entries[name].plugin!r} and {plugin!r}."
            )
        self.entries[name] = Entry(thing, plugin, package)

    def get(self, name: str) -> Any:
        """The thing of that name.

        Raises:
            RequestError: there is none; names the nearest.
            PluginError: two packages claim it, or it can't be imported.
        """
        return self.entry(name).load()

    def entry(self, name: str) -> Entry:
        """What is registered under that name, not imported yet.

        Raises:
            RequestError: there is none; names the nearest.
            PluginError: two packages claim it.
        """
        if name in self.disputed:
            raise PluginError(self.disputed[name])
        if name not in self.entries:
            raise unknown(self.kind, name, self.entries)
        return self.entries[name]

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
    """A plugin manager and the catalogues that its plugins filled.

    A built-in that breaks the rules is an error. Somebody else's that does is left out, whole, and told in `problems`; the
    rest goes on without it.
    """

    def __init__(self, *, entry_points: bool = True) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.problems: list[str] = []
        """A sentence for each plugin, or name, that is left out."""
        self.packages: dict[str, Installed] = {}
        """Where each plugin comes from that is no built-in."""
        for attribute, (kind, _) in KINDS.items():
            setattr(self, attribute, Catalogue(kind))
        for name in BUILTINS:
            for catalogue, thing_name, thing in self._added(name, importlib.import_module(name), repr(name)):
                catalogue.register(name, thing_name, thing)
        for found in installed() if entry_points else ():
            self._add(found)

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

    def _add(self, found: Installed) -> None:
        """Registers whatever can be of one installed plugin."""
        try:
            registered = self._added(found.name, found.load(), str(found))
        except PluginError as error:
            self.problems.append(f"{error} It is left out.")
            return
        self.packages[found.name] = found
        for catalogue, name, thing in registered:
            if name in catalogue.disputed:
                catalogue.disputed[name] += f" Plugin {found} registers it, too."
                self.problems.append(f"Plugin {found} registers the {catalogue.kind} {name!r}, too. It is not used.")
            elif name not in catalogue:
                catalogue.register(found.name, name, thing, found)
            elif (owner := self.packages.get(catalogue.entries[name].plugin)) is None:
                self.problems.append(
                    f"Plugin {found} registers the {catalogue.kind} {name!r}, which xkeb has itself; its own is used."
                )
            elif owner is found:
                self.problems.append(
                    f"Plugin {found} registers the {catalogue.kind} {name!r} twice; the first is used."
                )
            else:  # neither's: which of two methods a result is of must not hang on the order of installation
                catalogue.disputed[name] = (
                    f"Two plugins register the {catalogue.kind} {name!r}: {owner} and {found}. Neither is used; uninstall "
                    f"one of them."
                )
                self.problems.append(catalogue.disputed[name])
                del catalogue.entries[name]

    def _added(self, name: str, holder: object, told: str) -> list[tuple[Catalogue, str, Any]]:
        """What a plugin registers, in the order in which it does.

        Args:
            told: the plugin as a sentence names it.

        Raises:
            PluginError: it breaks the rules; then nothing of it stays.
        """
        registered: list[tuple[Catalogue, str, Any]] = []
        if self.manager.is_registered(holder):
            raise PluginError(f"Plugin {told} is the same module as plugin {self.manager.get_name(holder)!r}.")
        try:
            check_hooks(told, holder, [hook for _, hook in KINDS.values()])
            self.manager.register(holder, name)
            for attribute, (_, hook) in KINDS.items():
                catalogue: Catalogue = getattr(self, attribute)
                for implementation in getattr(self.manager.hook, hook).get_hookimpls():
                    if implementation.plugin_name == name:
                        implementation.function(
                            lambda key, thing, catalogue=catalogue: registered.append((catalogue, key, thing))
                        )
            if wrong := next((key for _, key, _ in registered if not isinstance(key, str)), None):
                raise PluginError(
                    f"Plugin {told} registers {wrong!r} for a name; `register(name, thing)` was expected."
                )
        except (Exception, SystemExit) as error:  # a hook is a stranger's code, too
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)
            if isinstance(error, PluginError):
                raise
            raise PluginError(f"Plugin {told} can't register what it brings: {one_line(error)}.") from error
        return registered


@functools.cache
def plugins() -> Plugins:
    """The catalogues of this process, read on first use. What is left out is told by a `PluginWarning`."""
    found = Plugins()
    for problem in found.problems:
        warnings.warn(problem, PluginWarning, stacklevel=2)
    return found
