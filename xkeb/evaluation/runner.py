"""Runs one job: cases -> edits -> changes -> predictions -> scores -> journals -> results, one for each protocol."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack

from xkeb.evaluation.case_journal import open_cases
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.scoring import skipped_case
from xkeb.evaluation.sequences.runner import BetweenEdits, SequencesRun
from xkeb.evaluation.settings import missing_languages
from xkeb.evaluation.team import Before, LocalTeam, Team
from xkeb.evaluation.worker import Answers
from xkeb.models.backbone import Backbone
from xkeb.models.memory import retain_freed_memory
from xkeb.results.crossing import crossing_scores
from xkeb.results.environment import today
from xkeb.results.group import comparable_group
from xkeb.results.journal import Journal
from xkeb.results.lines import CASES, BaselineRecord, CaseRecord
from xkeb.results.result import CountedDatasetRecord, ModelRecord, Phases, Result, SkippedRecord, TaskRecord, Timing
from xkeb.results.settings import RunSettings, scorer_of
from xkeb.results.statistics import blank_scores, mean_scores, slice_scores
from xkeb.types import Case
from xkeb.utils.secrets import without_secrets

LOG = logging.getLogger(__name__)


class JobRunner:
    """One job, whoever answers its cases. Killed at any moment, the same job goes on where it was."""

    def __init__(self, job: Job, team: Team, config: RunConfig, observer: RunObserver) -> None:
        """
        Args:
            team: answers its cases.
        """
        self.job, self.team, self.config, self.observer = job, team, config, observer
        self.about = team.about
        self.between: Sequence[BetweenEdits] = [BetweenEdits() for _ in job.measurements]
        """Of each measurement, what sequences tell beside the lines of their cases; filled in by `run`."""

    @property
    def settings(self) -> Sequence[RunSettings]:
        """What the cases of each measurement depend on."""
        return self.about.settings

    @retain_freed_memory()
    def run(self) -> list[Result]:
        """Runs the cases that are missing, and writes a result.json for each protocol."""
        self.observer.job_configured(self.job, self.about.options)
        with ExitStack() as stack:
            journals = [stack.enter_context(self._open_journal(number)) for number in range(len(self.settings))]
            before = [self._answers_before(number, journal) for number, journal in enumerate(journals)]
            if self.job.regime.is_single:
                self._run_missing(journals, before)
            else:
                run = SequencesRun(self.job, self.team, self.config, self.observer)
                self.between = run.run(journals, before)
            results = [
                self._build_result(number, [journal.lines[case.id] for case in self.job.cases])
                for number, journal in enumerate(journals)
            ]
            held = [len(journal.lines) for journal in journals]
        for measurement, result, count in zip(self.job.measurements, results, held, strict=True):
            result.save(measurement.folder)
            if count > len(self.job.cases):
                LOG.warning(
                    "%s holds %s cases of this kind; its result is of the %s that were asked for.",
                    measurement.folder,
                    f"{count:,}",
                    f"{len(self.job.cases):,}",
                )
        return results

    def _run_missing(self, journals: Sequence[Journal[CaseRecord]], before: Before) -> None:
        cases, observer = self.job.cases, self.observer
        lacking = [{case.id for case in cases if case.id not in journal} for journal in journals]
        missing = [case for case in cases if any(case.id in ids for ids in lacking)]
        if missing and self.about.needs_training:
            observer.phase_started("fit")
            self.team.learn(observer.progress)
        total = len(cases) * len(journals)
        observer.phase_started("edit", done=total - sum(map(len, lacking)), total=total)
        for asked, batch in self.team.edit_and_ask(
            self._skip_what_cant_be_run(missing, lacking, journals), lacking, before
        ):
            for number, records in enumerate(batch.records):
                for record in records:
                    self._record(number, journals[number], record)
            observer.batch_done(asked, batch.seconds)

    def _open_journal(self, number: int) -> Journal[CaseRecord]:
        path = self.job.measurements[number].folder / CASES
        return open_cases(self.job, path, self.settings[number].sha256, overwrite=self.config.overwrite)

    def _record(self, number: int, journal: Journal[CaseRecord], record: CaseRecord) -> None:
        self.observer.case_done(record.case_id, journal.append(record), self.settings[number].protocol)

    def _answers_before(self, number: int, done: Journal[CaseRecord]) -> dict[str, Answers]:
        """The answers before any edit: made once for a model and a task, and shared by every method.

        Args:
            done: the measurement's journal. A case that it skips needs no answers.
        """
        name, settings = self.about.baselines[number]
        path = self.job.measurements[number].folder.parent / name
        cases = [case for case in self.job.cases if case.id not in done or done.lines[case.id].status == "ok"]
        with Journal(path, BaselineRecord, settings, shared=True) as journal:
            missing = [case for case in cases if case.id not in journal]
            if missing:
                self.observer.phase_started(
                    "before", done=len(self.job.cases) - len(missing), total=len(self.job.cases)
                )
            for records in self.team.answer_before(number, missing):
                for record in records:
                    journal.append(record)
                    self.observer.case_done(record.case_id, None, self.settings[number].protocol)
            return {
                case.id: [one.prediction for one in journal.lines[case.id].answers]
                for case in cases
                if case.id in journal
            }

    def _skip_what_cant_be_run(
        self, cases: Sequence[Case], lacking: Sequence[set[str]], journals: Sequence[Journal[CaseRecord]]
    ) -> list[Case]:
        """The cases that the editor can make; the others are recorded with the reason."""
        reasons = {**self.team.why_unsupported(cases), **self.team.given_up}
        for case in cases:
            for number, journal in enumerate(journals):
                if case.id in reasons and case.id in lacking[number]:
                    record = skipped_case(case, reasons[case.id], self.settings[number].sha256)
                    self._record(number, journal, record)
        return [case for case in cases if case.id not in reasons]

    def _build_result(self, number: int, records: Sequence[CaseRecord]) -> Result:
        """The result of the cases asked for; the journal may hold more."""
        job, settings = self.job, self.settings[number]
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
                revision=self.about.revision,
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
            retention={str(edits): mean_scores(lines) for edits, lines in self.between[number].retained.items()}
            or None,
            damage=self.between[number].damage,
            skipped=[SkippedRecord(case_id=case_id, reason=reason) for case_id, reason in skipped],
            missing=missing_languages(job.task, ran),
            case_ids=[record.case_id for record in ran],
            timing=self._timing(number, ran),
            environment={**self.about.environment, "date": today()},
            command=self.config.command,
            settings=settings.sha256,
        )

    def _timing(self, number: int, records: Sequence[CaseRecord]) -> Timing:
        """Loading, learning, editing and the suite's own work are the whole job's, whatever the protocols."""
        seconds = [record.seconds for record in records if record.seconds]
        spent = self.team.spent()
        phases = {**spent.phases, **spent.measurements[number]}
        return Timing(
            edit_seconds=sum(one.edit for one in seconds),
            evaluate_seconds=sum(one.evaluate for one in seconds),
            wall_seconds=sum(phases.values()) - phases["load"],
            peak_memory_bytes=spent.peak_memory,
            phases=Phases(**phases),
        )


def local_runner(
    job: Job, backbone: Backbone, config: RunConfig, observer: RunObserver, load_seconds: float = 0.0
) -> JobRunner:
    """Runs a job in this process.

    Args:
        load_seconds: that loading the backbone took, where it was loaded for this job.
    """
    return JobRunner(job, LocalTeam(job, backbone, config, observer, load_seconds), config, observer)
