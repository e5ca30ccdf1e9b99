"""Answers to other questions that are the edit's own: the harm that an edit does where it spills over."""

from __future__ import annotations

from xkeb.results.blank import says_nothing
from xkeb.results.lines import CaseRecord, ProbeRecord
from xkeb.results.slices import normal


def echoes_edit(case: CaseRecord, probe: ProbeRecord) -> bool:
    """Whether the edited model gives the edit's own answer to a question: in the language of the edit, or in that of the
    question. One of the two texts may be the beginning of the other, since an answer is cut or forced to a length."""
    after = normal(probe.after)
    if says_nothing(after):
        return False
    own = {case.edit.target, *(one.reference for one in case.probes if _asks_the_fact(one, probe.language))}
    return any(after.startswith(answer) or answer.startswith(after) for answer in map(normal, own) if answer)


def _asks_the_fact(probe: ProbeRecord, language: str) -> bool:
    return probe.language == language and probe.property in ("reliability", "generality")
