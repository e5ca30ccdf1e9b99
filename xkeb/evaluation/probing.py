"""Asking a model its probes: before any edit, and under the changes of a batch of cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xkeb.editing.changes import Change, batched
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Intervention
from xkeb.models.prediction import predict
from xkeb.types import Case, Prediction, Query

Predict = Callable[[Backbone, Sequence[Query], Intervention | None], list[Prediction]]

PROTOCOLS: dict[str, Predict] = {"teacher_forcing": predict}
"""How questions are answered, by the name of ``--protocol``."""


def case_queries(case: Case, row: int = 0) -> list[Query]:
    """The questions of a case, asked under change `row`."""
    return [Query(probe.prompt, probe.reference, probe.language, row) for probe in case.probes]


def predict_before(
    backbone: Backbone, cases: Sequence[Case], protocol: str = "teacher_forcing"
) -> list[list[Prediction]]:
    """Each case's answers by the model as it is."""
    answers = iter(PROTOCOLS[protocol](backbone, [query for case in cases for query in case_queries(case)], None))
    return [[next(answers) for _ in case.probes] for case in cases]


def predict_after(
    backbone: Backbone, changes: Sequence[Change], cases: Sequence[Case], protocol: str = "teacher_forcing"
) -> list[list[Prediction]]:
    """Each case's answers under its own change: all in one batch where the changes can be applied row by row."""
    questions = [case_queries(case, row) for row, case in enumerate(cases)]
    intervention = batched(backbone, changes)
    if intervention is None:
        return [
            predict_edited(backbone, change, queries, protocol)
            for change, queries in zip(changes, questions, strict=True)
        ]
    with intervention.applied(backbone):
        flat = [query for queries in questions for query in queries]
        answers = iter(PROTOCOLS[protocol](backbone, flat, intervention))
    return [[next(answers) for _ in queries] for queries in questions]


def predict_edited(
    backbone: Backbone, change: Change, queries: Sequence[Query], protocol: str = "teacher_forcing"
) -> list[Prediction]:
    """The answers under one change, applied to the model itself."""
    with change.applied(backbone):
        return PROTOCOLS[protocol](backbone, queries, None)
