"""Asking a model its probes: before any edit, and under the changes of a batch of cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xkeb.editing.changes import Change, batched
from xkeb.evaluation.protocols import Protocol, TeacherForcingProtocol
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Prediction, Query

USUAL = TeacherForcingProtocol()


def case_queries(case: Case, row: int = 0, protocol: Protocol = USUAL) -> list[Query]:
    """The questions of a case, asked under change `row`."""
    return [protocol.query(case, probe, row) for probe in case.probes]


def predict_before(backbone: Backbone, cases: Sequence[Case], protocol: Protocol = USUAL) -> list[list[Prediction]]:
    """Each case's answers by the model as it is."""
    asked = [query for case in cases for query in case_queries(case, 0, protocol)]
    answers = iter(protocol.predict(backbone, asked))
    return [[next(answers) for _ in case.probes] for case in cases]


def predict_after(
    backbone: Backbone, changes: Sequence[Change], cases: Sequence[Case], protocol: Protocol = USUAL
) -> list[list[Prediction]]:
    """Each case's answers under its own change: all in one batch where the changes can be applied row by row."""
    return _predict_under(
        backbone, changes, [case_queries(case, row, protocol) for row, case in enumerate(cases)], protocol
    )


def predict_reference_state(
    backbone: Backbone, changes: Sequence[Change], cases: Sequence[Case], protocol: Protocol = USUAL
) -> list[Mapping[int, Prediction]]:
    """The answers that locality compares with, where a change says what they are given under (`ContextChange.before`).

    Returns:
        for each case, by the index of a probe; empty where it is the model as it is.
    """
    own = [(i, before) for i, change in enumerate(changes) if (before := getattr(change, "before", None)) is not None]
    answers: list[Mapping[int, Prediction]] = [{} for _ in changes]
    places = [[k for k, probe in enumerate(cases[i].probes) if probe.judged_by == "before"] for i, _ in own]
    questions = [
        [protocol.query(cases[i], cases[i].probes[k], row) for k in ks]
        for row, ((i, _), ks) in enumerate(zip(own, places, strict=True))
    ]
    if own:
        predicted = _predict_under(backbone, [before for _, before in own], questions, protocol)
        for (i, _), ks, given in zip(own, places, predicted, strict=True):
            answers[i] = dict(zip(ks, given, strict=True))
    return answers


def predict_edited(
    backbone: Backbone, change: Change, queries: Sequence[Query], protocol: Protocol = USUAL
) -> list[Prediction]:
    """The answers under one change, applied to the model itself."""
    with change.applied(backbone):
        return protocol.ask(backbone, [queries])[0]


def predict_together(
    backbone: Backbone, change: Change, cases: Sequence[Case], protocol: Protocol = USUAL
) -> list[list[Prediction]]:
    """Each case's answers under one change that holds the edits of all, applied to the model itself."""
    with change.applied(backbone):
        return protocol.ask(backbone, [case_queries(case, 0, protocol) for case in cases])


def _predict_under(
    backbone: Backbone, changes: Sequence[Change], questions: Sequence[Sequence[Query]], protocol: Protocol
) -> list[list[Prediction]]:
    intervention = batched(backbone, changes)
    if intervention is None:
        return [
            predict_edited(backbone, change, queries, protocol)
            for change, queries in zip(changes, questions, strict=True)
        ]
    with intervention.applied(backbone):
        return protocol.ask(backbone, questions, intervention)
