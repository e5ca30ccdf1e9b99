"""From answers to scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from xkeb.evaluation.probing import USUAL
from xkeb.evaluation.protocols import Protocol
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.results.answers import EXACT, elsewhere, has_reverted, measured
from xkeb.results.blank import says_nothing
from xkeb.results.lines import (
    CaseRecord,
    CaseSeconds,
    EditRecord,
    ProbeRecord,
    RawRecord,
    SecondRecord,
    SequenceRecord,
    Tokens,
)
from xkeb.types import Around, Case, Language, Metric, Prediction, Probe, Query, SecondTurn


def score_case(
    case: Case,
    before: Sequence[Prediction],
    after: Sequence[Prediction],
    backbone: Backbone,
    metrics: Sequence[str],
    seconds: Mapping[str, float],
    settings: str,
    protocol: Protocol = USUAL,
    slices: Mapping[str, str] | None = None,
    sequence: SequenceRecord | None = None,
) -> CaseRecord:
    """The journal line of a case: its answers and their scores, from 0 to 1.

    Args:
        slices: that it is in, kind -> value.
        sequence: where it stands in the edits of one model.
    """
    measures = {name: get_plugins().metrics.get(name) for name in metrics}
    return CaseRecord(
        case_id=case.id,
        status="ok",
        reason=None,
        edit=edit_record(case),
        probes=[
            _score_probe(
                probe,
                protocol.query(case, probe),
                old,
                new,
                elsewhere(probe, case.probes),
                backbone,
                measures,
                protocol,
            )
            for probe, old, new in zip(case.probes, before, after, strict=True)
        ],
        slices=dict(sorted((slices or {}).items())),
        seconds=CaseSeconds(edit=seconds["edit"], evaluate=seconds["evaluate"]),
        sequence=sequence,
        settings=settings,
    )


def skipped_case(case: Case, reason: str, settings: str, sequence: SequenceRecord | None = None) -> CaseRecord:
    """The journal line of a case that can't be run."""
    return CaseRecord(
        case_id=case.id,
        status="skipped",
        reason=reason,
        edit=edit_record(case),
        probes=[],
        sequence=sequence,
        settings=settings,
    )


def edit_record(case: Case) -> EditRecord:
    """What a journal line says of the edit."""
    edit = case.edit
    return EditRecord(prompt=edit.prompt, subject=edit.subject, target=edit.target, language=edit.language)


def _score_probe(
    probe: Probe,
    query: Query,
    before: Prediction,
    after: Prediction,
    others: Mapping[str, str],
    backbone: Backbone,
    measures: Mapping[str, Metric],
    protocol: Protocol,
) -> ProbeRecord:
    reference = dataclasses.replace(protocol.reference(backbone, query), aliases=probe.aliases)
    expected = before if probe.judged_by == "before" else reference
    language = get_plugins().languages.get(probe.language)
    around = Around(before, others)
    return ProbeRecord(
        property=probe.property,
        language=probe.language,
        prompt=query.prompt,
        reference=query.target,
        compared=reference.text if reference.text != query.target.strip() else None,
        aliases=list(probe.aliases) or None,
        before=before.text,
        after=after.text,
        scores=measured(measures, after, expected, language, around),
        scores_before=measured(measures, before, expected, language, around),
        tokens=Tokens(reference=list(reference.tokens), before=list(before.tokens), after=list(after.tokens)),
        raw=None if before.raw is None or after.raw is None else RawRecord(before=before.raw, after=after.raw),
        blank=probe.judged_by == "before" and not protocol.blank_counts and says_nothing(before.text),
        second=None
        if after.second is None
        else _score_second(after, after.second, reference, language, around, measures),
    )


def _score_second(
    first: Prediction,
    second: SecondTurn,
    gold: Prediction,
    language: Language,
    around: Around,
    measures: Mapping[str, Metric],
) -> SecondRecord:
    answer = second.answer
    assert answer.raw is not None
    return SecondRecord(
        question=second.question,
        reply=second.reply,
        after=answer.text,
        raw=answer.raw,
        tokens=list(answer.tokens),
        scores=measured(measures, answer, gold, language, around),
        reverted=has_reverted(get_plugins().metrics.get(EXACT), first, answer, gold, language),
    )
