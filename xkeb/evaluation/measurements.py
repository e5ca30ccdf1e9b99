"""What a job measures: its edits are made once, and asked under each protocol of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xkeb.errors import RequestError, unknown
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.protocols import PROTOCOLS, Protocol, load_protocol


@dataclass(frozen=True, slots=True)
class Measurement:
    """A job's cases under one protocol: a journal and a result of their own."""

    protocol: Protocol
    metrics: Sequence[str]
    folder: Path
    """Where its files go; its last part is the method's name, with another protocol's, prompt style's or regime's behind it."""


def load_protocols(config: RunConfig) -> list[Protocol]:
    """The protocols of a run, each with its own options.

    Raises:
        RequestError: none or an unknown one, or an option that isn't for one of them or can't be.
    """
    names = list(dict.fromkeys(config.protocols))
    if not names:
        raise RequestError("--protocol names nothing.")
    for name in names:
        if name not in PROTOCOLS:
            raise unknown("protocol", name, PROTOCOLS)
    options: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in config.protocol_args.items():
        owner, _, option = key.rpartition(".")
        if not owner and len(names) > 1:
            raise RequestError(f"--protocol-args takes protocol.option=value where there are several, not {key!r}.")
        if owner and owner not in options:
            raise RequestError(f"--protocol-args sets options of {owner!r}, which --protocol doesn't name.")
        options[owner or names[0]][option] = value
    return [load_protocol(name, own) for name, own in options.items()]
