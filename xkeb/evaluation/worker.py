"""Cases edited and asked on a loaded model: what the process needs that holds it. Journals and results are the runner's."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from xkeb.editing.changes import Change
from xkeb.editing.editor import Editor, make_changes, prepare, why_unsupported
from xkeb.editing.finite import why_not_finite
from xkeb.evaluation.job import Job
from xkeb.evaluation.probing import predict_after, predict_before, predict_reference_state
from xkeb.evaluation.protocols import Protocol
from xkeb.evaluation.scoring import score_case, skipped_case
from xkeb.evaluation.settings import baseline_settings, run_settings
from xkeb.evaluation.timing import PhaseTimer
from xkeb.models.backbone import Backbone
from xkeb.results.lines import AnswerRecord, BaselineRecord, CaseRecord
from xkeb.results.settings import RunSettings
from xkeb.tasks.slices import slices_of
from xkeb.types import Case, Prediction
from xkeb.utils.progress import Report, reporting_to

Answers = list[Prediction]
"""To the probes of one case, in their order."""


@dataclass(frozen=True)
class _Answered:
    """A case's answers under its edit."""

    after: Answers
    compared: Mapping[int, Prediction]
    """What locality is compared with, where that isn't the model as it is: by probe."""


@dataclass(frozen=True)
class Batch:
    """What came of some cases that were edited together."""

    records: list[list[CaseRecord]]
    """Of each measurement, the lines that were asked for, in the order of the cases."""
    seconds: Mapping[str, float]
    """Of ``edit`` and ``evaluate``, for one case."""


class JobWorker:
    """A job on a loaded backbone."""

    def __init__(self, job: Job, backbone: Backbone, seed: int, timer: PhaseTimer) -> None:
        """
        Args:
            seed: of the run.
            timer: told what is done when.
        """
        self.job, self.timer = job, timer
        self.backbone = backbone.asked_in(job.prompt)
        # A copy: the job lives as long as the run, and what a method learns may be gigabytes.
        self.editor: Editor = copy.deepcopy(job.editor).configure(backbone.spec)
        self.protocols: list[Protocol] = [one.protocol.for_editor(self.editor) for one in job.measurements]
        self.settings: list[RunSettings] = [
            run_settings(job, self.backbone, self.editor, protocol, one.metrics, seed)
            for one, protocol in zip(job.measurements, self.protocols, strict=True)
        ]
        self.seconds = [{"before": 0.0, "evaluate": 0.0} for _ in job.measurements]
        """That each measurement alone took."""

    def baseline(self, number: int) -> str:
        """The hash of what the answers before any edit depend on, under one of the protocols."""
        return baseline_settings(self.job, self.backbone, self.protocols[number]).sha256

    def answer_before(self, number: int, cases: Sequence[Case]) -> list[BaselineRecord]:
        """The untouched model's answers to some cases, under one of the protocols."""
        settings = self.baseline(number)
        start = self.timer.read()["before"]
        with self.timer.phase("before"):
            answered = predict_before(self.backbone, cases, self.protocols[number])
        self.seconds[number]["before"] += self.timer.read()["before"] - start
        return [
            BaselineRecord(case_id=case.id, answers=[AnswerRecord.of(answer) for answer in answers], settings=settings)
            for case, answers in zip(cases, answered, strict=True)
        ]

    def learn(self, report: Report) -> None:
        """Has the editor learn what it must learn before its first edit."""
        with reporting_to(report), self.timer.phase("fit"):
            self.editor = prepare(self.editor, self.backbone, self.job.training())

    def why_unsupported(self, case: Case) -> str | None:
        """Why the editor can't make a case's edit, if it can't."""
        return why_unsupported(self.editor, self.backbone, case.edit)

    def edit_and_ask(
        self, cases: Sequence[Case], wanted: Sequence[Collection[str]], before: Sequence[Mapping[str, Answers]]
    ) -> Batch:
        """Makes each case's edit once, and asks the case under each protocol.

        The changes are gone when this returns, so that those of two batches are never alive at once.

        Args:
            wanted: of each measurement, the cases that it lacks.
            before: of each measurement, the answers before any edit.
        """
        start = self.timer.read()
        with self.timer.phase("edit"):
            changes = make_changes(self.editor, self.backbone, [case.edit for case in cases])
            reasons = [why_not_finite(change) for change in changes]
        edit = (self.timer.read()["edit"] - start["edit"]) / len(cases)
        made = list(zip(cases, changes, reasons, strict=True))
        records = []
        for number, ids in enumerate(wanted):
            begun = self.timer.read()["evaluate"]
            asked = [one for one in made if one[0].id in ids]
            with self.timer.phase("evaluate"):
                answered = iter(self._ask(number, [(case, change) for case, change, reason in asked if reason is None]))
            spent = self.timer.read()["evaluate"] - begun
            self.seconds[number]["evaluate"] += spent
            seconds = {"edit": edit, "evaluate": spent / max(len(asked), 1)}
            records.append(
                [
                    self.skipped(number, case, reason)
                    if reason is not None
                    else self._score(number, case, before[number][case.id], next(answered), seconds)
                    for case, _, reason in asked
                ]
            )
        end = self.timer.read()
        return Batch(records, {name: (end[name] - start[name]) / len(cases) for name in ("edit", "evaluate")})

    def skipped(self, number: int, case: Case, reason: str) -> CaseRecord:
        """The line of a case that can't be run."""
        return skipped_case(case, reason, self.settings[number].sha256)

    def _ask(self, number: int, made: Sequence[tuple[Case, Change]]) -> list[_Answered]:
        if not made:
            return []
        cases, changes = [case for case, _ in made], [change for _, change in made]
        after = predict_after(self.backbone, changes, cases, self.protocols[number])
        compared = predict_reference_state(self.backbone, changes, cases, self.protocols[number])
        return [_Answered(*both) for both in zip(after, compared, strict=True)]

    def _score(
        self, number: int, case: Case, before: Answers, answered: _Answered, seconds: Mapping[str, float]
    ) -> CaseRecord:
        return score_case(
            case,
            [answered.compared.get(i, answer) for i, answer in enumerate(before)],
            answered.after,
            self.backbone,
            self.job.measurements[number].metrics,
            seconds,
            self.settings[number].sha256,
            self.protocols[number],
            slices_of(case, self.job.task.trained_answers),
        )
