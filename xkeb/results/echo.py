"""Answers to other questions that are an edit's own: the harm that an edit does where it spills over."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from xkeb.results.blank import says_nothing
from xkeb.results.lines import CaseRecord
from xkeb.results.slices import normal


def count_echoes(cases: Sequence[CaseRecord]) -> Counter[str]:
    """By language, to how many of the questions that can't measure locality the edited model gives the answer of an edit that
    it has: in the language of the edit, or in that of the question. A model has one edit, or those of a sequence up to
    where the case was asked."""
    edits: dict[str, list[CaseRecord]] = defaultdict(list)
    for case in cases:
        if case.probes:
            edits[_model(case)].append(case)
    known: dict[_Asked, frozenset[str]] = {}
    echoes: Counter[str] = Counter()
    for case in cases:
        for probe in case.probes:
            if probe.blank:
                asked = _Asked(_model(case), case.sequence.edits if case.sequence else 1, probe.language)
                if asked not in known:
                    known[asked] = frozenset(_answers(edits[asked.model], asked))
                echoes[probe.language] += _is_one_of(probe.after, known[asked])
    return echoes


class _Asked(NamedTuple):
    model: str
    edits: int
    language: str


def _model(case: CaseRecord) -> str:
    """Which edited model a case was asked: that of its sequence, or its own."""
    return f"sequence {case.sequence.sha256}" if case.sequence else f"case {case.case_id}"


def _answers(cases: Iterable[CaseRecord], asked: _Asked) -> Iterable[str]:
    """What the edits of a model say, in their own languages and in that of a question."""
    for case in cases:
        if not case.sequence or case.sequence.place <= asked.edits:
            yield normal(case.edit.target)
            for probe in case.probes:
                if probe.language == asked.language and probe.property in ("reliability", "generality"):
                    yield normal(probe.reference)


def _is_one_of(answer: str, texts: Collection[str]) -> bool:
    """Whether an answer is one of some texts. One of the two may be the beginning of the other, since an answer is cut or
    forced to a length."""
    said = normal(answer)
    return not says_nothing(said) and any(said.startswith(text) or text.startswith(said) for text in texts if text)
