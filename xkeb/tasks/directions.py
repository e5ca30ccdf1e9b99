"""How a task's YAML says its languages: as a pair, as a source with its targets, or as a list of either. A source whose list of
targets is empty is a task of one language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xkeb.errors import RequestError
from xkeb.registry.manager import get_plugins
from xkeb.types import Direction, LanguagePair

WAYS = (("pair",), ("source", "targets"), ("pairs",), ("languages",))
"""The keys that say a task's languages, or those of a family of tasks: one of these ways, whole."""


def pair_named(name: str) -> LanguagePair:
    """The direction of that name: a registered one, or any two registered languages.

    Raises:
        RequestError: a language is unknown, or there aren't two.
        PluginError: two packages claim a language.
    """
    plugins = get_plugins()
    registered = plugins.pairs.get(name) if name in plugins.pairs else None
    codes = registered.languages if registered else name.split("-")
    for code in codes:
        plugins.languages.entry(code)
    if registered:
        return registered
    if len(codes) != 2 or codes[0] == codes[1]:
        raise RequestError(f"A pair is two languages, source-target; found {name!r}.")
    return LanguagePair(codes[0], codes[1])


def direction_of(source: str, targets: Sequence[str]) -> Direction:
    """A source with its targets: a pair where there is one, the source alone where there are none.

    Raises:
        RequestError: one is unknown, or is named twice.
    """
    for code in (source, *targets):
        get_plugins().languages.entry(code)
    if len({source, *targets}) <= len(targets):
        raise RequestError(
            f"Beside its source, {source!r}, a task asks in other languages, each once; found {', '.join(targets)}."
        )
    return LanguagePair(source, targets[0]) if len(targets) == 1 else Direction(source, tuple(targets))


def why_no_languages(values: Mapping[str, Any]) -> str | None:
    """Why the keys of a task don't say its languages, and once; None where they do."""
    begun = [way for way in WAYS if set(way) & values.keys()]
    if not begun:
        return "the languages are missing: `pair`, or `source` and `targets`"
    if len(begun) > 1:
        return f"{_named(begun[0])} and {_named(begun[1])} both say the languages; one of them is enough"
    lacking = [key for key in begun[0] if key not in values]
    if lacking == ["targets"]:
        return "`targets` is missing: name the other languages to ask in, or write `targets: []` to ask in the source alone"
    return f"`{lacking[0]}` is missing: {_named(begun[0])} belong together" if lacking else None


def _named(way: Sequence[str]) -> str:
    return " and ".join(f"`{key}`" for key in way)
