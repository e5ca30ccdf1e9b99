"""What can go wrong, and whose fault it is."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Any


class XkebError(Exception):
    """Base of every error this library raises on purpose."""


class RequestError(XkebError):
    """The request is wrong: one sentence that says what was expected. The command line exits with status 2."""


class NotHereError(RequestError):
    """What was asked for is known and not on this machine; the sentence says how to get it."""


class PluginError(XkebError):
    """A plugin breaks the rules of the registries: a name registered twice, a hook misspelt."""


class PluginWarning(UserWarning):
    """Somebody else's plugin can't be used, wholly or in part; everything else can."""


def one_line(error: BaseException) -> str:
    """An exception in one line, without a full stop: its kind and its text, or its kind alone where it has no text. Of a file
    that can't be read or written: which one, and why."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split()).removesuffix(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The known name that is most like a misspelt one, if any is."""
    folded = {choice.casefold(): choice for choice in sorted(choices)}
    near = difflib.get_close_matches(name.casefold(), sorted(folded), n=1, cutoff=0.5)
    return folded[near[0]] if near else None


LISTED, SAMPLED = 60, 5
"""Names that a message lists, and how many of more."""


def unknown(
    kind: str, name: str, choices: Iterable[str], listing: str = "", *, meant: str | None = None
) -> RequestError:
    """The error for a name that is not in a registry: names the nearest one, or lists all of them, or some of very many.

    Args:
        listing: the command that lists them.
        meant: the one that is meant, where that is known.
    """
    names = sorted(choices)
    near = meant or nearest(name, names)
    if near:
        hint = f"did you mean {near!r}?"
    elif len(names) > LISTED:
        hint = f"known are {len(names)}, such as {', '.join(names[:SAMPLED])}{f'; see `{listing}`' if listing else ''}."
    elif names:
        hint = f"known: {', '.join(names)}."
    else:
        hint = "there are none."
    return RequestError(f"Unknown {kind} {name!r}: {hint}")


def optional_import(module: str, extra: str, needed_by: str) -> Any:
    """A module of a package that only an extra brings.

    Args:
        extra: the extra of xkeb that brings it.
        needed_by: what can't be done without it, as a sentence begins with it.

    Raises:
        RequestError: it isn't installed; says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RequestError(
            f"{needed_by} needs {module.partition('.')[0]}, which isn't installed: pip install 'xkeb[{extra}]'."
        ) from error
