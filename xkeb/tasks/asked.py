"""What a probe is asked under a protocol: its question, and the answer whose tokens are predicted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xkeb.errors import RequestError
from xkeb.results.settings import ProtocolName
from xkeb.types import Case, Probe, Query

TEACHER_FORCING: ProtocolName = "teacher_forcing"
PAPER: ProtocolName = "paper"
GENERATE: ProtocolName = "generate"
WILD: ProtocolName = "wild"
COUNTING_BLANKS = frozenset({PAPER, WILD})
"""The protocols under which an answer that says nothing is one that locality can be measured by, as in the released code."""
RELEASED: Mapping[str, Any] = {
    "max_length": 30,
    "texts": "growing",
    "joiner": "space",
    "bos": "kept",
    "bags": "released",
    "case": "released",
    "questions": "raw",
}
"""The options of the paper's protocol as the released code has them; any other value is another measurement."""


def query_of(protocol: str, options: Mapping[str, Any], case: Case, probe: Probe, row: int = 0) -> Query:
    """The question that a protocol makes of a probe.

    Args:
        options: of the protocol, all of them.
        row: the change that it is asked under.

    Raises:
        RequestError: the case has no English answer to score its reliability against.
    """
    prompt, reference = probe.prompt, probe.reference
    if protocol == PAPER:
        if probe.raw is not None and options["questions"] == "raw":
            prompt, reference = probe.raw.prompt, probe.raw.reference
        if probe.property == "reliability" and options["reliability"] == "english":
            reference = _english(case)
    return Query(prompt, reference, probe.language, row, probe.property)


def _english(case: Case) -> str:
    for probe in case.probes:
        if probe.property == "generality" and probe.language == "en":
            return probe.raw.reference if probe.raw else probe.reference
    raise RequestError(
        f"Case {case.id!r} has no English answer, so its reliability can't be scored against one (reliability=english)."
    )
