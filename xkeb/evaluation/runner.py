"""Runs one job: cases -> edits -> changes -> predictions -> scores -> journal -> result."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xkeb.editing.editor import Editor, make_changes, options_of, prepare, why_unsupported
from xkeb.editing.finite import why_not_finite
from xkeb.evaluation.batches import auto_batch, chunks, run_in_batches
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.probing import predict_after, predict_before, predict_reference_state
from xkeb.evaluation.protocols import load_protocol
from xkeb.evaluation.scoring import score_case, skipped_case
from xkeb.evaluation.settings import baseline_settings, run_settings
from xkeb.evaluation.timing import PhaseTimer
from xkeb.models.backbone import Backbone
from xkeb.models.memory import retain_freed_memory
from xkeb.results.environment import describe_environment, peak_memory, today
from xkeb.results.journal import Journal
from xkeb.results.schema import (
    CASES,
    AnswerRecord,
    BaselineRecord,
    CaseRecord,
    CountedDatasetRecord,
    ModelRecord,
    Phases,
    Result,
    RunSettings,
    SkippedRecord,
    TaskRecord,
    Timing,
    comparable_group,
)
from xkeb.results.statistics import blank_scores, mean_scores, slice_scores
from xkeb.tasks.slices import slices_of
from xkeb.types import Case, Prediction
from xkeb.utils.progress import reporting_to
from xkeb.utils.secrets import without_secrets

Answers = list[Prediction]
"""To the probes of one case, in their order."""


@dataclass(frozen=True)
class _Answered:
    """A case's answers under its edit."""

    after: Answers
    compared: Mapping[int, Prediction]
    """What locality is compared with, where that isn't the model as it is: by probe."""


class JobRunner:
    """One job on a loaded backbone. Killed at any moment, the same job goes on where it was."""

    def __init__(
        self, job: Job, backbone: Backbone, config: RunConfig, observer: RunObserver, *, load_seconds: float = 0.0
    ) -> None:
        """
        Args:
            load_seconds: that loading the backbone took, where it was loaded for this job.
        """
        self.job, self.config, self.observer = job, config, observer
        self.backbone = backbone = backbone.asked_in(job.prompt)
        self.timer = PhaseTimer(backbone.device, load_seconds)
        # A copy: the job lives as long as the run, and what a method learns may be gigabytes.
        self.editor: Editor = copy.deepcopy(job.editor).configure(backbone.spec)
        self.protocol = load_protocol(config.protocol, config.protocol_args).for_editor(self.editor)
        self.settings: RunSettings = run_settings(job, backbone, self.editor, self.protocol, config)

    @retain_freed_memory()
    def run(self) -> Result:
        """Runs the cases that are missing, and writes result.json."""
        job, observer = self.job, self.observer
        observer.job_configured(job, without_secrets(options_of(self.editor)))
        with self._open_journal() as journal:
            missing = [case for case in job.cases if case.id not in journal]
            before = self._answers_before()
            if missing:
                self._learn()
            observer.phase_started("edit", done=len(job.cases) - len(missing), total=len(job.cases))
            batches = run_in_batches(
                self._skip_unsupported(missing, journal),
                self.config.batch_size or auto_batch(self.backbone.device),
                self._edit_and_ask,
                observer,
                fixed=self.config.batch_size is not None,
            )
            for cases, (answered, seconds) in batches:
                for case, answers in zip(cases, answered, strict=True):
                    if isinstance(answers, str):
                        self._record(journal, skipped_case(case, answers, journal.settings))
                    else:
                        self._record(journal, self._score(case, before[case.id], answers, seconds))
                observer.batch_done(cases, seconds)
            result = self._build_result([journal.lines[case.id] for case in job.cases])
        result.save(job.folder)
        return result

    def _open_journal(self) -> Journal[CaseRecord]:
        path = self.job.folder / CASES
        return Journal(path, CaseRecord, self.settings.sha256, overwrite=self.config.overwrite)

    def _record(self, journal: Journal[CaseRecord], record: CaseRecord) -> None:
        self.observer.case_done(record.case_id, journal.append(record))

    def _answers_before(self) -> dict[str, Answers]:
        """The answers before any edit: made once for a model and a task, and shared by every method."""
        job = self.job
        settings = baseline_settings(job, self.backbone, self.protocol).sha256
        with Journal(
            job.folder.parent / self.protocol.baseline(job.prompt), BaselineRecord, settings, shared=True
        ) as journal:
            missing = [case for case in job.cases if case.id not in journal]
            if missing:
                self.observer.phase_started("before", done=len(job.cases) - len(missing), total=len(job.cases))
            for cases in chunks(missing, 2 * auto_batch(self.backbone.device)):
                with self.timer.phase("before"):
                    answered = predict_before(self.backbone, cases, self.protocol)
                for case, answers in zip(cases, answered, strict=True):
                    records = [AnswerRecord.of(answer) for answer in answers]
                    journal.append(BaselineRecord(case_id=case.id, answers=records, settings=settings))
                    self.observer.case_done(case.id, None)
            return {case.id: [one.prediction for one in journal.lines[case.id].answers] for case in job.cases}

    def _learn(self) -> None:
        """Has the editor learn what it must learn before its first edit."""
        if self.editor.needs_training():
            self.observer.phase_started("fit")
            with reporting_to(self.observer.progress), self.timer.phase("fit"):
                self.editor = prepare(self.editor, self.backbone, self.job.training())

    def _skip_unsupported(self, cases: Sequence[Case], journal: Journal[CaseRecord]) -> list[Case]:
        """The cases that the editor can make; the others are recorded with the reason."""
        supported = []
        for case in cases:
            if reason := why_unsupported(self.editor, self.backbone, case.edit):
                self._record(journal, skipped_case(case, reason, journal.settings))
            else:
                supported.append(case)
        return supported

    def _edit_and_ask(self, cases: Sequence[Case]) -> tuple[list[_Answered | str], dict[str, float]]:
        """Each case's answers under its own edit, or why that edit failed; and the seconds of one case. The changes are gone
        by then, so that those of two batches are never alive at once."""
        start = self.timer.read()
        with self.timer.phase("edit"):
            changes = make_changes(self.editor, self.backbone, [case.edit for case in cases])
            reasons = [why_not_finite(change) for change in changes]
        sound = [i for i, reason in enumerate(reasons) if reason is None]
        made, asked = [changes[i] for i in sound], [cases[i] for i in sound]
        with self.timer.phase("evaluate"):
            after = predict_after(self.backbone, made, asked, self.protocol) if made else []
            compared = predict_reference_state(self.backbone, made, asked, self.protocol) if made else []
        end = self.timer.read()
        seconds = {name: (end[name] - start[name]) / len(cases) for name in ("edit", "evaluate")}
        answered = iter([_Answered(*both) for both in zip(after, compared, strict=True)])
        return [reason if reason is not None else next(answered) for reason in reasons], seconds

    def _score(self, case: Case, before: Answers, answered: _Answered, seconds: dict[str, float]) -> CaseRecord:
        before = [answered.compared.get(i, answer) for i, answer in enumerate(before)]
        metrics, settings = self.config.scored, self.settings.sha256
        slices = slices_of(case, self.job.task.trained_answers)
        return score_case(
            case, before, answered.after, self.backbone, metrics, seconds, settings, self.protocol, slices
        )

    def _build_result(self, records: Sequence[CaseRecord]) -> Result:
        """The result of the cases asked for; the journal may hold more."""
        job, settings, backbone = self.job, self.settings, self.backbone
        assert settings.method is not None
        ran = [record for record in records if record.status == "ok"]
        skipped = [(one.case_id, one.reason) for one in job.task.test.skipped]
        skipped += [(record.case_id, record.reason or "") for record in records if record.status == "skipped"]
        dataset = CountedDatasetRecord(**settings.task.dataset.model_dump(), n_cases=len(records))
        return Result(
            task=TaskRecord(**{**settings.task.model_dump(), "dataset": dataset}),
            model=ModelRecord(
                **settings.model.model_dump(),
                plugin=job.choice.plugin,
                args=without_secrets(job.model_args),
                revision=backbone.revision,
            ),
            method=settings.method,
            protocol=settings.protocol,
            protocol_args=settings.protocol_args,
            prompt=settings.prompt,
            regime=settings.regime,
            comparable_group=comparable_group(settings),
            metrics=settings.metrics,
            seed=settings.seed,
            selection=job.selection,
            scores=mean_scores(ran),
            scores_before=mean_scores(ran, "scores_before"),
            slices=slice_scores(ran),
            slices_before=slice_scores(ran, "scores_before"),
            blank=blank_scores(ran),
            skipped=[SkippedRecord(case_id=case_id, reason=reason) for case_id, reason in skipped],
            case_ids=[record.case_id for record in ran],
            timing=self._timing(ran),
            environment={**describe_environment(backbone.device), "date": today()},
            command=self.config.command,
            settings=settings.sha256,
        )

    def _timing(self, records: Sequence[CaseRecord]) -> Timing:
        seconds = [record.seconds for record in records if record.seconds]
        phases = self.timer.read()
        return Timing(
            edit_seconds=sum(one.edit for one in seconds),
            evaluate_seconds=sum(one.evaluate for one in seconds),
            wall_seconds=sum(phases.values()) - phases["load"],
            peak_memory_bytes=peak_memory(self.backbone.device),
            phases=Phases(**phases),
        )
