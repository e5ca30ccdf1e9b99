"""Who answers the cases of a job: a worker in this process, or several elsewhere. The runner keeps the journals."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from xkeb.editing.editor import options_of
from xkeb.evaluation.batches import auto_batch, chunks, run_in_batches
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.sequences.damage import DamageMeter
from xkeb.evaluation.sequences.order import EditSequence
from xkeb.evaluation.sequences.saved import SavedSession
from xkeb.evaluation.sequences.worker import Asked, Measured, SequenceWorker
from xkeb.evaluation.sequences.worker import Wanted as WantedOfFiles
from xkeb.evaluation.timing import PhaseTimer
from xkeb.evaluation.worker import Answers, Batch, JobWorker
from xkeb.models.backbone import Backbone
from xkeb.models.products import said_of
from xkeb.results.environment import describe_environment, peak_memory
from xkeb.results.lines import BaselineRecord
from xkeb.results.settings import RunSettings
from xkeb.types import Case
from xkeb.utils.progress import Report
from xkeb.utils.secrets import without_secrets

Wanted = Sequence[set[str]]
"""Of each measurement, the cases that it lacks."""
Before = Sequence[Mapping[str, Answers]]
"""Of each measurement, the answers before any edit."""


@dataclass(frozen=True)
class JobAbout:
    """What a job is on a loaded model, as its journals and results state it."""

    options: Mapping[str, Any]
    """All of the method's, without secrets."""
    settings: Sequence[RunSettings]
    """Of each measurement, what its cases depend on."""
    baselines: Sequence[tuple[str, str]]
    """Of each measurement, the file of the answers before any edit, and the hash of what they depend on."""
    needs_training: bool
    revision: str | None
    """Of the model's files."""
    environment: Mapping[str, Any]

    @classmethod
    def of(cls, worker: JobWorker) -> JobAbout:
        backbone = worker.backbone
        return cls(
            options=without_secrets(options_of(worker.editor)),
            settings=worker.settings,
            baselines=[
                (protocol.baseline(worker.job.prompt), worker.baseline(number))
                for number, protocol in enumerate(worker.protocols)
            ],
            needs_training=worker.editor.needs_training(),
            revision=backbone.revision,
            environment=describe_environment(backbone.device, said_of(backbone.model)),
        )


@dataclass(frozen=True)
class Spent:
    """Time and memory of a job up to now."""

    phases: Mapping[str, float]
    """Seconds by the clock, as in `xkeb.results.result.Phases`."""
    measurements: Sequence[Mapping[str, float]]
    """Of each measurement, its own seconds of ``before`` and ``evaluate``."""
    peak_memory: int
    """Bytes of the process that needed most."""


class Team(Protocol):
    """Answers the cases of one job. Writes no journal."""

    @property
    def about(self) -> JobAbout: ...

    @property
    def given_up(self) -> Mapping[str, str]:
        """Cases that can't be asked here, each with the reason."""
        ...

    def learn(self, report: Report) -> None:
        """Has the method learn what it must learn before its first edit."""
        ...

    def answer_before(self, number: int, cases: Sequence[Case]) -> Iterator[list[BaselineRecord]]:
        """The untouched model's answers under one of the protocols, in any order; not of cases that are given up."""
        ...

    def why_unsupported(self, cases: Sequence[Case]) -> Mapping[str, str]:
        """The cases whose edit the method can't make, each with the reason."""
        ...

    def edit_and_ask(
        self, cases: Sequence[Case], wanted: Wanted, before: Before
    ) -> Iterator[tuple[Sequence[Case], Batch]]:
        """Each case edited once and asked under each protocol, in batches, in any order."""
        ...

    def edit_sequence(
        self,
        sequence: EditSequence,
        wanted: WantedOfFiles,
        before: Before,
        gone: Mapping[str, str],
        saved: SavedSession,
        points: Collection[int],
    ) -> Iterator[Asked | Measured]:
        """A sequence of edits on one model, and the questions between them (see `SequenceWorker.run`)."""
        ...

    def spent(self) -> Spent: ...


@dataclass
class LocalTeam:
    """One worker, in this process."""

    job: Job
    backbone: Backbone
    config: RunConfig
    observer: RunObserver
    load_seconds: float = 0.0
    """That loading the backbone took, where it was loaded for this job."""
    given_up: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.timer = PhaseTimer(self.backbone.device, self.load_seconds)
        self.worker = JobWorker(self.job, self.backbone, self.config.seed, self.timer)
        self.about = JobAbout.of(self.worker)

    def learn(self, report: Report) -> None:
        self.worker.learn(report)

    def answer_before(self, number: int, cases: Sequence[Case]) -> Iterator[list[BaselineRecord]]:
        for some in chunks(cases, 2 * auto_batch(self.backbone.device)):
            yield self.worker.answer_before(number, some)

    def why_unsupported(self, cases: Sequence[Case]) -> Mapping[str, str]:
        return {case.id: reason for case in cases if (reason := self.worker.why_unsupported(case))}

    def edit_and_ask(
        self, cases: Sequence[Case], wanted: Wanted, before: Before
    ) -> Iterator[tuple[Sequence[Case], Batch]]:
        def answer(batch: Sequence[Case]) -> Batch:
            return self.worker.edit_and_ask(batch, wanted, before)

        size = self.config.batch_size or auto_batch(self.backbone.device)
        return run_in_batches(cases, size, answer, self.observer, fixed=self.config.batch_size is not None)

    def edit_sequence(
        self,
        sequence: EditSequence,
        wanted: WantedOfFiles,
        before: Before,
        gone: Mapping[str, str],
        saved: SavedSession,
        points: Collection[int],
    ) -> Iterator[Asked | Measured]:
        size = self.config.batch_size or auto_batch(self.backbone.device)
        fixed = self.config.batch_size is not None
        worker = SequenceWorker(self.worker, sequence, saved, size, fixed, self.observer, self._meter)
        return worker.run(wanted, before, gone, points)

    @functools.cached_property
    def _meter(self) -> DamageMeter:
        """Of damage: what it knows of the untouched model, it knows for all sequences."""
        return DamageMeter(self.worker.backbone, self.job.passages)

    def spent(self) -> Spent:
        return Spent(self.timer.read(), self.worker.seconds, peak_memory(self.backbone.device))
