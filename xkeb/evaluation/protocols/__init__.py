"""How a model is asked, and what its answers are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xkeb.errors import unknown
from xkeb.evaluation.protocols.generate import GenerateProtocol
from xkeb.evaluation.protocols.paper import PaperProtocol
from xkeb.evaluation.protocols.protocol import Protocol, TeacherForcingProtocol
from xkeb.evaluation.protocols.wild import WildProtocol
from xkeb.registry.options import build_with_options

PROTOCOLS: Mapping[str, type[Protocol]] = {
    protocol.name: protocol for protocol in (TeacherForcingProtocol, PaperProtocol, GenerateProtocol, WildProtocol)
}
"""By the name of ``--protocol``."""


def load_protocol(name: str, options: Mapping[str, Any]) -> Protocol:
    """A protocol with its ``--protocol-args``.

    Raises:
        RequestError: an unknown name or option, or a value that an option can't have.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    protocol: Protocol = build_with_options("protocol", name, PROTOCOLS[name], options)
    return protocol


__all__ = [
    "PROTOCOLS",
    "GenerateProtocol",
    "PaperProtocol",
    "Protocol",
    "TeacherForcingProtocol",
    "WildProtocol",
    "load_protocol",
]
