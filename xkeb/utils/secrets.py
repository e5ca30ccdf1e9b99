"""Values that no file of a result should hold: those of options whose names say that they are secret."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = "***"
_WORDS = frozenset(
    {"apikey", "credential", "credentials", "key", "passphrase", "passwd", "password", "secret", "token"}
)
_PAIR = re.compile(r"(?P<name>[^\s=,;]+)\s*=\s*(?P<value>\"[^\"]*\"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|[^,;]*)")


def is_secret(name: str) -> bool:
    """Whether an option is named as one that is secret: ``api_key``, ``hub.token``, ``apiKey``. A ``tokenizer`` is none."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    return not _WORDS.isdisjoint(words)


def without_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with `HIDDEN` for what is secret."""
    return {
        name: HIDDEN
        if is_secret(name) and value is not None
        else without_secrets(value)
        if isinstance(value, Mapping)
        else value
        for name, value in options.items()
    }


def command_line(arguments: Sequence[str]) -> str:
    """A command as a shell takes it, with `HIDDEN` for the values of options that are secret: of the command itself
    (``--token X``), and among those of a plugin (``--model-args token=X,path=Y``)."""
    shown: list[str] = []
    hide = False
    for argument in arguments:
        if hide:
            shown.append(HIDDEN)
            hide = False
            continue
        flag, equals, value = argument.partition("=")
        hide = argument.startswith("--") and not equals and is_secret(argument)
        if argument.startswith("--") and equals:
            shown.append(f"{flag}={HIDDEN if is_secret(flag) else _pairs(value)}")
        else:
            shown.append(_pairs(argument))
    text = shlex.join(shown)
    # Bytes of the command line that are no text came in as half characters, which no file of text can hold.
    return text.encode("utf-8", "backslashreplace").decode()


def _pairs(text: str) -> str:
    """``k=v,k=v`` without the secret values."""
    return _PAIR.sub(lambda match: f"{match['name']}={HIDDEN}" if is_secret(match["name"]) else match[0], text)
