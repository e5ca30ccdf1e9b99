"""Names that a shell completes: the last one of a list that commas separate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from xkeb.errors import XkebError

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def complete_registered(kind: str, *more: str) -> Complete:
    """What is registered as ``methods``, ``models``, ``metrics`` ..

    Args:
        more: words that may stand in their place.
    """

    def names(context: click.Context) -> Iterable[str]:
        from xkeb.registry.manager import get_plugins

        return [*getattr(get_plugins(), kind), *more]

    return _completing(names)


def _tasks(context: click.Context) -> Iterable[str]:
    from xkeb.tasks.task import load_definitions

    return sorted(load_definitions(context.params.get("include_path") or ()))


def _completing(names: Callable[[click.Context], Iterable[str]]) -> Complete:
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        try:
            known: Any = list(names(context))
        except XkebError:  # a shell is no place to say what is wrong
            return []
        there = set(before.split(","))
        return [
            CompletionItem(f"{before}{comma}{name}") for name in known if name.startswith(last) and name not in there
        ]

    return complete


complete_tasks = _completing(_tasks)
