"""A registry: things of one kind by name, imported when they are first used."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from xkeb.errors import PluginError, one_line, unknown
from xkeb.registry.entry_points import InstalledPlugin

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One registered name."""

    thing: T | str
    """The thing, or where it stands: ``"package.module:attribute"``."""
    plugin: str
    package: InstalledPlugin | None = None
    """Where the plugin comes from; None of a built-in."""

    @property
    def builtin(self) -> bool:
        """Whether it comes with the suite."""
        return self.package is None

    def load(self) -> T:
        """The thing itself; imports it where only its place was registered.

        Raises:
            PluginError: it can't be imported.
        """
        if not isinstance(self.thing, str):
            return self.thing
        module, _, attribute = self.thing.partition(":")
        try:
            thing: T = getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
            raise PluginError(
                f"Plugin {self.package or repr(self.plugin)} registered {self.thing!r}, which can't be imported: "
                f"{one_line(error)}."
            ) from error
        return thing


@dataclass(frozen=True, slots=True)
class Expected:
    """What a registered thing has to be."""

    holds: Callable[[Any], bool]
    words: str
    """As a sentence names one of them."""

    @classmethod
    def instance_of(cls, wanted: type[Any]) -> Self:
        return cls(lambda thing: isinstance(thing, wanted), f"a {wanted.__module__}.{wanted.__qualname__}")


CLASS = Expected(inspect.isclass, "a class")
FUNCTION = Expected(callable, "a function")


class Registry(Generic[T]):
    """Names of one kind. Iterates them sorted, since pluggy calls the plugin that was registered last first."""

    def __init__(self, kind: str, hook: str, expected: Expected, called: Callable[[T], str] | None = None) -> None:
        """
        Args:
            kind: what its things are, as a sentence names one of them.
            hook: the hook that fills it.
            called: what people call a thing, where that isn't the name it is registered under.
        """
        self.kind, self.hook, self.expected, self.called = kind, hook, expected, called
        self.entries: dict[str, Entry[T]] = {}
        self.disputed: dict[str, str] = {}
        """Names that two packages claim, so that neither has them; and the sentence that says so."""

    def register(self, plugin: str, name: str, thing: T | str, package: InstalledPlugin | None = None) -> None:
        """Adds a name.

        Raises:
            PluginError: it is taken.
        """
        if name in self.entries:
            raise PluginError(
                f"Two plugins register the {self.kind} {name!r}: {self.entries[name].plugin!r} and {plugin!r}."
            )
        self.entries[name] = Entry(thing, plugin, package)

    def get(self, name: str) -> T:
        """The thing of that name.

        Raises:
            RequestError: there is none; names the nearest.
            PluginError: two packages claim it, it can't be imported, or it is of another class than expected.
        """
        entry = self.entry(name)
        thing = entry.load()
        self.check(str(entry.package or repr(entry.plugin)), name, thing)
        return thing

    def check(self, plugin: str, name: str, thing: T) -> None:
        """Refuses what is no thing of this kind.

        Args:
            plugin: as a sentence names it.

        Raises:
            PluginError: it is something else than expected.
        """
        if not self.expected.holds(thing):
            raise PluginError(
                f"Plugin {plugin} registers the {self.kind} {name!r} of type {type(thing).__name__}; "
                f"{self.expected.words} was expected."
            )

    def entry(self, name: str) -> Entry[T]:
        """What is registered under that name, not imported yet.

        Raises:
            RequestError: there is none; names the nearest.
            PluginError: two packages claim it.
        """
        if name in self.disputed:
            raise PluginError(self.disputed[name])
        if name not in self.entries:
            meant = next((one for one in self if self._is_called(one, name)), None)
            raise unknown(self.kind, name, self.entries, meant=meant)
        return self.entries[name]

    def _is_called(self, name: str, text: str) -> bool:
        try:
            return self.called is not None and self.called(self.get(name)).casefold() == text.casefold()
        except PluginError:  # it can't be imported
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.entries))

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __len__(self) -> int:
        return len(self.entries)
