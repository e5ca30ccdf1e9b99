"""Plugins that other packages bring: the entry points of the group ``xkeb``."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from xkeb.errors import PluginError, nearest, one_line
from xkeb.registry.hookspecs import PROJECT

ARGUMENT = "register"
"""What every hook is given."""


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """One entry point."""

    point: metadata.EntryPoint
    name: str
    """What the registries call it: the entry point's name, with the package's before it where two packages took the same."""
    package: str
    """Name and version of the package that brings it."""

    def __str__(self) -> str:
        return f"{self.name!r} of package {self.package}"

    def load(self) -> Any:
        """The module, or object, that has the hooks.

        Raises:
            PluginError: it can't be imported.
        """
        try:
            return self.point.load()
        except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
            raise PluginError(f"Plugin {self} can't be imported: {one_line(error)}.") from error


def find_installed() -> list[InstalledPlugin]:
    """Every entry point of the group, by package and name."""
    points = sorted(
        ((point.dist.name if point.dist else "?", point) for point in metadata.entry_points(group=PROJECT)),
        key=lambda pair: (pair[0], pair[1].name),
    )
    names = [point.name for _, point in points]
    plugins = []
    for package, point in points:
        name = point.name if names.count(point.name) == 1 else f"{package}:{point.name}"
        plugins.append(InstalledPlugin(point, name, f"{package} {point.dist.version}" if point.dist else package))
    return plugins


def check_hooks(plugin: str, holder: object, hooks: Iterable[str]) -> None:
    """Refuses hooks that are not known here, and functions that would never be called.

    A plugin that was written for a newer version shows by the hooks it has. One that can do without such a hook marks it
    ``@xkeb.hookimpl(optionalhook=True)``.

    Args:
        plugin: as a sentence names it.

    Raises:
        PluginError: names the plugin, and the nearest hook.
    """
    names = sorted(hooks)
    for name in dir(holder):
        function: Any = getattr(holder, name, None)
        marks = getattr(function, f"{PROJECT}_impl", None)
        if name in names:
            if marks is None and _own(function, holder):
                raise PluginError(f"Plugin {plugin} has {name!r} without @xkeb.hookimpl, so it would never be called.")
            if marks is not None and (more := [p for p in inspect.signature(function).parameters if p != ARGUMENT]):
                raise PluginError(
                    f"Plugin {plugin} wants {', '.join(more)} in its hook {name!r}, which this version of xkeb does not "
                    f"give: it may have been written for a newer version; the only argument is {ARGUMENT!r}."
                )
        elif marks is None and name.startswith("register_") and _own(function, holder):
            raise PluginError(f"Plugin {plugin} has {name!r}, which is no hook; {_hint(name, names)}")
        elif marks is not None and not marks["optionalhook"]:
            raise PluginError(
                f"Plugin {plugin} has the hook {name!r}, which this version of xkeb does not know: the name is "
                f"misspelt, or the plugin was written for a newer version; {_hint(name, names)}"
            )


def _own(function: object, holder: object) -> bool:
    """Whether a module's function was written there, not imported; of an object, everything is its own."""
    if inspect.ismodule(holder):
        return getattr(function, "__module__", None) == holder.__name__
    return callable(function)


def _hint(name: str, names: list[str]) -> str:
    near = nearest(name, names)
    return f"did you mean {near!r}?" if near else f"the hooks are {', '.join(names)}."
