"""Lines of a journal made up in the true format, as the models that they are."""

from __future__ import annotations

from typing import Any

from xkeb.results.lines import CaseRecord, CaseSeconds, EditRecord, ProbeRecord, Tokens

EDIT = EditRecord(prompt="Where is it?", subject="it", target="波尔多", language="en")


def scored(case_id: str, settings: str = "s", **scores: float) -> CaseRecord:
    """A case with these scores of reliability, and 1.0 in f1 of locality."""
    probes = [_probe("reliability", "en", scores), _probe("locality", "zh", {"f1": 1.0})]
    seconds = CaseSeconds(edit=1.0, evaluate=0.5)
    return CaseRecord(
        case_id=case_id, status="ok", reason=None, edit=EDIT, probes=probes, seconds=seconds, settings=settings
    )


def _probe(name: Any, language: str, scores: dict[str, float], *, blank: bool = False) -> ProbeRecord:
    return ProbeRecord(
        property=name,
        language=language,
        prompt="Where is it?",
        reference="波尔多",
        before="?" if blank else "Paris",
        after="波尔多",
        scores=scores,
        scores_before=dict.fromkeys(scores, 0.0),
        tokens=Tokens(reference=[1], before=[2], after=[1]),
        blank=blank,
    )


def located(case_id: str, value: float, *, blank: bool = False, **slices: str) -> CaseRecord:
    """A case with this f1 of reliability, and of locality in Chinese, in some slices; `blank` is what that is compared with."""
    probes = [_probe("reliability", "en", {"f1": value}), _probe("locality", "zh", {"f1": value}, blank=blank)]
    edit = EDIT.model_copy(update={"subject": case_id})
    return CaseRecord(
        case_id=case_id,
        status="ok",
        reason=None,
        edit=edit,
        probes=probes,
        slices=slices,
        seconds=CaseSeconds(edit=1.0, evaluate=0.5),
        settings="s",
    )


def skipped(case_id: str, reason: str = "why", settings: str = "s") -> CaseRecord:
    """A case that could not be run."""
    return CaseRecord(case_id=case_id, status="skipped", reason=reason, edit=EDIT, probes=[], settings=settings)
