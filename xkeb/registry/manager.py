"""The plugin manager: calls every plugin's hooks once, and keeps what they register, by kind and name."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pluggy

from xkeb.data.dataset import Dataset
from xkeb.errors import PluginError, PluginWarning, one_line
from xkeb.registry import hookspecs
from xkeb.registry.entry_points import InstalledPlugin, check_hooks, find_installed
from xkeb.registry.registry import CLASS, FUNCTION, Expected, Registry
from xkeb.types import Language, LanguagePair, Metric
from xkeb.utils.names import EXPECTED, is_folder_name

BUILTINS = (
    "xkeb_plugins.datasets",
    "xkeb_plugins.executors",
    "xkeb_plugins.languages",
    "xkeb_plugins.methods",
    "xkeb_plugins.metrics",
    "xkeb_plugins.models",
    "xkeb_plugins.observers",
    "xkeb_tasks",
)
"""Modules of hooks that come with the suite; third parties use the entry-point group ``xkeb``."""

Registration = tuple[Registry[Any], str, Any]
"""A registry, a name, and what is registered under it."""


class PluginManager:
    """The registries, filled by the hooks of all plugins.

    A built-in that breaks the rules is an error. A third party's plugin that does is left out, whole, and told in
    `problems`; the others go on without it.
    """

    def __init__(self, *, entry_points: bool = True) -> None:
        self.methods: Registry[type[Any]] = Registry("method", "register_editors", CLASS)
        self.models: Registry[type[Any]] = Registry("model", "register_backbones", CLASS)
        self.languages: Registry[Language] = Registry(
            "language", "register_languages", Expected.instance_of(Language), lambda language: language.name
        )
        self.pairs: Registry[LanguagePair] = Registry(
            "language pair", "register_language_pairs", Expected.instance_of(LanguagePair)
        )
        self.metrics: Registry[Metric] = Registry("metric", "register_metrics", FUNCTION)
        self.datasets: Registry[Dataset] = Registry("data set", "register_datasets", Expected.instance_of(Dataset))
        self.task_folders: Registry[Path] = Registry("task folder", "register_tasks", Expected.instance_of(Path))
        self.executors: Registry[Callable[..., Any]] = Registry("executor", "register_executors", FUNCTION)
        self.observers: Registry[type[Any]] = Registry("observer", "register_observers", CLASS)
        self.registries: tuple[Registry[Any], ...] = (
            self.methods,
            self.models,
            self.languages,
            self.pairs,
            self.metrics,
            self.datasets,
            self.task_folders,
            self.executors,
            self.observers,
        )
        self.problems: list[str] = []
        """A sentence for each plugin, or name, that is left out."""
        self.packages: dict[str, InstalledPlugin] = {}
        """Where each plugin comes from that is no built-in."""
        self.pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self.pluggy.add_hookspecs(hookspecs)
        for module in BUILTINS:
            for registry, name, thing in self._call_hooks(module, importlib.import_module(module), repr(module)):
                registry.register(module, name, thing)
        for plugin in find_installed() if entry_points else ():
            self._add(plugin)

    def names(self) -> list[str]:
        """The plugins themselves, built-in and installed."""
        return sorted(name for name, module in self.pluggy.list_name_plugin() if module is not None)

    def _add(self, plugin: InstalledPlugin) -> None:
        """Registers what can be registered of one installed plugin."""
        try:
            registered = self._call_hooks(plugin.name, plugin.load(), str(plugin))
        except PluginError as error:
            self.problems.append(f"{error} It is left out.")
            return
        self.packages[plugin.name] = plugin
        for registry, name, thing in registered:
            if name in registry.disputed:
                registry.disputed[name] += f" Plugin {plugin} registers it, too."
                self.problems.append(f"Plugin {plugin} registers the {registry.kind} {name!r}, too. It is not used.")
            elif name not in registry:
                registry.register(plugin.name, name, thing, plugin)
            elif (owner := self.packages.get(registry.entries[name].plugin)) is None:
                self.problems.append(
                    f"Plugin {plugin} registers the {registry.kind} {name!r}, which xkeb has itself; its own is used."
                )
            elif owner is plugin:
                self.problems.append(
                    f"Plugin {plugin} registers the {registry.kind} {name!r} twice; the first is used."
                )
            else:  # neither's: which of two methods a result is of must not depend on the order of installation
                registry.disputed[name] = (
                    f"Two plugins register the {registry.kind} {name!r}: {owner} and {plugin}. Neither is used; "
                    f"uninstall one of them."
                )
                self.problems.append(registry.disputed[name])
                del registry.entries[name]

    def _call_hooks(self, name: str, holder: object, called: str) -> list[Registration]:
        """What a plugin registers, in the order in which it does.

        pluggy makes the calls, so its rules hold: a hook may leave `register` out of its arguments, and a plugin may
        wrap the hooks of the plugins after it.

        Args:
            called: the plugin as a sentence names it.

        Raises:
            PluginError: it breaks the rules; then nothing of it stays.
        """
        registered: list[Registration] = []
        if self.pluggy.is_registered(holder):
            raise PluginError(f"Plugin {called} is the same module as plugin {self.pluggy.get_name(holder)!r}.")
        try:
            check_hooks(called, holder, [registry.hook for registry in self.registries])
            self.pluggy.register(holder, name)
            for registry in self.registries:
                call = self.pluggy.subset_hook_caller(registry.hook, self._others(registry.hook, name))
                said = call(register=lambda key, thing, registry=registry: registered.append((registry, key, thing)))
                if said:
                    raise PluginError(
                        f"Plugin {called} returns something from its hook {registry.hook!r}, which is not read: "
                        "`register(name, thing)` was expected."
                    )
            for registry, key, thing in registered:
                if not isinstance(key, str):
                    raise PluginError(
                        f"Plugin {called} registers {key!r} for a name; `register(name, thing)` was expected."
                    )
                if not is_folder_name(key):
                    raise PluginError(f"Plugin {called} registers {key!r} for a name; {EXPECTED}.")
                if not isinstance(thing, str):
                    registry.check(called, key, thing)
        except (Exception, SystemExit) as error:  # a hook is a stranger's code, too
            if self.pluggy.has_plugin(name):
                self.pluggy.unregister(name=name)
            if isinstance(error, PluginError):
                raise
            raise PluginError(f"Plugin {called} can't register what it brings: {one_line(error)}.") from error
        return registered

    def _others(self, hook: str, name: str) -> Iterator[object]:
        """The plugins whose own implementations of a hook were called before; their wrappers stay at work."""
        for implementation in getattr(self.pluggy.hook, hook).get_hookimpls():
            wraps = implementation.wrapper or implementation.hookwrapper
            if implementation.plugin_name != name and not wraps:
                yield implementation.plugin


@functools.cache
def get_plugins() -> PluginManager:
    """The plugins of this process, read on first use. What is left out is told by a `PluginWarning`."""
    manager = PluginManager()
    for problem in manager.problems:
        warnings.warn(problem, PluginWarning, stacklevel=2)
    return manager
