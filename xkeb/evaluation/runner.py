"""Runs one job: cases -> edits -> changes -> predictions -> scores -> journals -> results, one for each protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from xkeb.editing.editor import options_of
from xkeb.evaluation.batches import auto_batch, chunks, run_in_batches
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.settings import missing_languages
from xkeb.evaluation.timing import PhaseTimer
from xkeb.evaluation.worker import Answers, Batch, JobWorker
from xkeb.models.backbone import Backbone
from xkeb.models.memory import retain_freed_memory
from xkeb.results.crossing import crossing_scores
from xkeb.results.environment import describe_environment, peak_memory, today
from xkeb.results.journal import Journal
from xkeb.results.schema import (
    CASES,
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
    scorer_of,
)
from xkeb.results.statistics import blank_scores, mean_scores, slice_scores
from xkeb.types import Case
from xkeb.utils.secrets import without_secrets


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
        self.timer = PhaseTimer(backbone.device, load_seconds)
        self.worker = JobWorker(job, backbone, config.seed, self.timer)
        self.backbone = self.worker.backbone

    @property
    def settings(self) -> Sequence[RunSettings]:
        """What the cases of each measurement depend on."""
        return self.worker.settings

    @retain_freed_memory()
    def run(self) -> list[Result]:
        """Runs the cases that are missing, and writes a result.json for each protocol."""
        self.observer.job_configured(self.job, without_secrets(options_of(self.worker.editor)))
        with ExitStack() as stack:
            journals = [stack.enter_context(self._open_journal(number)) for number in range(len(self.settings))]
            before = [self._answers_before(number) for number in range(len(journals))]
            self._run_missing(journals, before)
            results = [
                self._build_result(number, [journal.lines[case.id] for case in self.job.cases])
                for number, journal in enumerate(journals)
            ]
        for measurement, result in zip(self.job.measurements, results, strict=True):
            result.save(measurement.folder)
        return results

    def _run_missing(self, journals: Sequence[Journal[CaseRecord]], before: Sequence[Mapping[str, Answers]]) -> None:
        cases, observer = self.job.cases, self.observer
        lacking = [{case.id for case in cases if case.id not in journal} for journal in journals]
        missing = [case for case in cases if any(case.id in ids for ids in lacking)]
        if missing and self.worker.editor.needs_training():
            observer.phase_started("fit")
            self.worker.learn(observer.progress)
        total = len(cases) * len(journals)
        observer.phase_started("edit", done=total - sum(map(len, lacking)), total=total)

        def answer(batch: Sequence[Case]) -> Batch:
            return self.worker.edit_and_ask(batch, lacking, before)

        batches = run_in_batches(
            self._skip_unsupported(missing, lacking, journals),
            self.config.batch_size or auto_batch(self.backbone.device),
            answer,
            observer,
            fixed=self.config.batch_size is not None,
        )
        for asked, batch in batches:
            for number, records in enumerate(batch.records):
                for record in records:
                    self._record(number, journals[number], record)
            observer.batch_done(asked, batch.seconds)

    def _open_journal(self, number: int) -> Journal[CaseRecord]:
        path = self.job.measurements[number].folder / CASES
        return Journal(path, CaseRecord, self.settings[number].sha256, overwrite=self.config.overwrite)

    def _record(self, number: int, journal: Journal[CaseRecord], record: CaseRecord) -> None:
        self.observer.case_done(record.case_id, journal.append(record), self.settings[number].protocol)

    def _answers_before(self, number: int) -> dict[str, Answers]:
        """The answers before any edit: made once for a model and a task, and shared by every method."""
        job, worker = self.job, self.worker
        name = worker.protocols[number].baseline(job.prompt)
        path = job.measurements[number].folder.parent / name
        with Journal(path, BaselineRecord, worker.baseline(number), shared=True) as journal:
            missing = [case for case in job.cases if case.id not in journal]
            if missing:
                self.observer.phase_started("before", done=len(job.cases) - len(missing), total=len(job.cases))
            for cases in chunks(missing, 2 * auto_batch(self.backbone.device)):
                for record in worker.answer_before(number, cases):
                    journal.append(record)
                    self.observer.case_done(record.case_id, None, self.settings[number].protocol)
            return {case.id: [one.prediction for one in journal.lines[case.id].answers] for case in job.cases}

    def _skip_unsupported(
        self, cases: Sequence[Case], lacking: Sequence[set[str]], journals: Sequence[Journal[CaseRecord]]
    ) -> list[Case]:
        """The cases that the editor can make; the others are recorded with the reason."""
        supported = []
        for case in cases:
            if reason := self.worker.why_unsupported(case):
                for number, journal in enumerate(journals):
                    if case.id in lacking[number]:
                        self._record(number, journal, self.worker.skipped(number, case, reason))
            else:
                supported.append(case)
        return supported

    def _build_result(self, number: int, records: Sequence[CaseRecord]) -> Result:
        """The result of the cases asked for; the journal may hold more."""
        job, settings, backbone = self.job, self.settings[number], self.backbone
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
            scorer=scorer_of(settings.protocol),
            comparable_group=comparable_group(settings),
            metrics=settings.metrics,
            seed=settings.seed,
            selection=job.selection,
            scores=mean_scores(ran),
            scores_before=mean_scores(ran, "scores_before"),
            slices=slice_scores(ran),
            slices_before=slice_scores(ran, "scores_before"),
            second_turn=mean_scores(ran, "second_turn"),
            blank=blank_scores(ran),
            crossing=crossing_scores(ran, settings.task.direction, settings.protocol),
            skipped=[SkippedRecord(case_id=case_id, reason=reason) for case_id, reason in skipped],
            missing=missing_languages(job.task, ran),
            case_ids=[record.case_id for record in ran],
            timing=self._timing(number, ran),
            environment={**describe_environment(backbone.device), "date": today()},
            command=self.config.command,
            settings=settings.sha256,
        )

    def _timing(self, number: int, records: Sequence[CaseRecord]) -> Timing:
        """Loading, learning, editing and the suite's own work are the whole job's, whatever the protocols."""
        seconds = [record.seconds for record in records if record.seconds]
        phases = {**self.timer.read(), **self.worker.seconds[number]}
        return Timing(
            edit_seconds=sum(one.edit for one in seconds),
            evaluate_seconds=sum(one.evaluate for one in seconds),
            wall_seconds=sum(phases.values()) - phases["load"],
            peak_memory_bytes=peak_memory(self.backbone.device),
            phases=Phases(**phases),
        )
