"""The sequences of a job: what is missing of them, and the lines of what comes of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from xkeb.errors import RequestError
from xkeb.evaluation.case_journal import open_cases
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.scoring import skipped_case
from xkeb.evaluation.sequences.order import EditSequence, sequences_of
from xkeb.evaluation.sequences.saved import FOLDER, SavedSession
from xkeb.evaluation.sequences.worker import Asked, Measured, Wanted
from xkeb.evaluation.worker import Answers
from xkeb.results.damage import DAMAGE, Damage, DamageRecord, damage_settings, mean_damage, point_key, texts_of
from xkeb.results.journal import Journal
from xkeb.results.lines import CASES, RETENTION, CaseRecord
from xkeb.results.settings import RunSettings
from xkeb.types import Case
from xkeb.utils.hashing import digest
from xkeb.utils.progress import Report

Before = Sequence[Mapping[str, Answers]]
"""Of each measurement, the answers before any edit."""
Files = Mapping[str, Journal[CaseRecord]]
"""The journals of a measurement, by the name of the file."""


@dataclass(frozen=True)
class BetweenEdits:
    """What a measurement tells of sequences, beside the lines of their cases."""

    retained: Mapping[int, Sequence[CaseRecord]] = field(default_factory=dict)
    """After how many edits -> the lines of all edits up to there, asked again."""
    damage: Damage | None = None
    """None where it wasn't asked for."""


class About(Protocol):
    """Of a job on a loaded model, what its sequences depend on."""

    @property
    def settings(self) -> Sequence[RunSettings]: ...

    @property
    def needs_training(self) -> bool: ...


class SequenceTeam(Protocol):
    """What of a `xkeb.evaluation.team.Team` the sequences need."""

    @property
    def about(self) -> About: ...

    def learn(self, report: Report) -> None: ...

    def why_unsupported(self, cases: Sequence[Case]) -> Mapping[str, str]: ...

    def edit_sequence(
        self,
        sequence: EditSequence,
        wanted: Wanted,
        before: Before,
        gone: Mapping[str, str],
        saved: SavedSession,
        points: Collection[int],
    ) -> Iterator[Asked | Measured]: ...


class SequencesRun:
    """All sequences of a job, one after another."""

    def __init__(self, job: Job, team: SequenceTeam, config: RunConfig, observer: RunObserver) -> None:
        self.job, self.team, self.config, self.observer = job, team, config, observer
        self.settings = team.about.settings
        self.sequences, self.left_over = sequences_of(job.cases, job.regime, config.seed, job.retained)
        self.texts = texts_of(job.passages)
        self._done = 0
        self._interrupted = False
        """Whether the observer was told of something else than cases that are done."""

    def run(self, journals: Sequence[Journal[CaseRecord]], before: Before) -> list[BetweenEdits]:
        """Runs what is missing. Returns of each measurement what the earlier edits answered, and the damage.

        Args:
            journals: of each measurement, that of its cases.

        Raises:
            RequestError: a journal has a case of another sequence.
        """
        for journal in journals:
            self._check(journal)
        with ExitStack() as stack:
            files = [self._open(number, journal, stack) for number, journal in enumerate(journals)]
            damage = [self._open_damage(number, stack) for number in range(len(files))] if self.job.damage else []
            self._run_missing(files, damage, before)
            return [
                BetweenEdits(self._retained(one), self._damage(damage[number]) if damage else None)
                for number, one in enumerate(files)
            ]

    def _check(self, journal: Journal[CaseRecord]) -> None:
        """Refuses lines of other sequences: another seed's, or those of another number of cases."""
        expected = {case.id: sequence.sha256 for sequence in self.sequences for case in sequence.cases}
        for case in self.job.cases:
            line = journal.lines.get(case.id)
            if line is not None and (line.sequence and line.sequence.sha256) != expected.get(case.id):
                raise RequestError(
                    f"{journal.path} has case {case.id!r} from another sequence of edits than these cases make; name another "
                    "--output, or start over with --fresh."
                )

    def _open(self, number: int, journal: Journal[CaseRecord], stack: ExitStack) -> Files:
        files = {CASES: journal}
        for edits in self.job.retained:
            name = RETENTION.format(edits)
            path = self.job.measurements[number].folder / name
            files[name] = stack.enter_context(
                open_cases(self.job, path, self.settings[number].sha256, overwrite=self.config.overwrite)
            )
        return files

    def _open_damage(self, number: int, stack: ExitStack) -> Journal[DamageRecord]:
        path = self.job.measurements[number].folder / DAMAGE
        settings = damage_settings(self.settings[number].sha256, self.texts)
        return stack.enter_context(Journal(path, DamageRecord, settings, overwrite=self.config.overwrite))

    def _run_missing(self, files: Sequence[Files], damage: Sequence[Journal[DamageRecord]], before: Before) -> None:
        if self.config.overwrite:
            self._saved("").clear()
        gone = {line.case_id: line.reason or "" for one in files for line in one[CASES] if line.status == "skipped"}
        unfinished = [
            one for one in self.sequences if self._lacking(one, files, gone) or self._points(one, damage, gone)
        ]
        self._done = sum(case.id in one[CASES] for one in files for case in self.job.cases)
        if unfinished and self.team.about.needs_training:
            self.observer.phase_started("fit")
            self.team.learn(self.observer.progress)
        self._tell()
        reason = f"it is left over: --regime {self.job.regime.asked} takes cases in groups of {self.job.regime.edits}"
        self._skip(files, None, dict.fromkeys((case.id for case in self.left_over), reason))
        for sequence in unfinished:
            gone |= self.team.why_unsupported([case for case in sequence.cases if case.id not in gone])
            self._skip(files, sequence, gone)
            self._run_sequence(sequence, files, damage, before, gone)

    def _lacking(self, sequence: EditSequence, files: Sequence[Files], gone: Mapping[str, str]) -> bool:
        """Whether a line of a sequence isn't there."""
        due = [(name, case.id) for n in range(1, self.job.regime.batches + 1) for name, cases in sequence.asked_after(n)
               for case in cases]  # fmt: skip
        return any(
            case_id not in one[name] and (name == CASES or case_id not in gone)
            for one in files
            for name, case_id in due
        )

    def _points(
        self, sequence: EditSequence, damage: Sequence[Journal[DamageRecord]], gone: Mapping[str, str]
    ) -> list[int]:
        """After how many edits of a sequence damage is still to be measured."""
        return [
            edits
            for edits in self.job.regime.asked_at
            if any(point_key(sequence.sha256, edits) not in journal for journal in damage)
            and any(case.id not in gone for case in sequence.cases[:edits])
        ]

    def _skip(self, files: Sequence[Files], sequence: EditSequence | None, reasons: Mapping[str, str]) -> None:
        """Writes the lines of cases that aren't edited."""
        for case in self.left_over if sequence is None else sequence.cases:
            for number, one in enumerate(files):
                if case.id in reasons and case.id not in one[CASES]:
                    place = sequence.record(case) if sequence else None
                    line = skipped_case(case, reasons[case.id], self.settings[number].sha256, place)
                    self._record(number, one[CASES], line)

    def _run_sequence(
        self,
        sequence: EditSequence,
        files: Sequence[Files],
        damage: Sequence[Journal[DamageRecord]],
        before: Before,
        gone: Mapping[str, str],
    ) -> None:
        wanted = [
            {name: {case.id for case in sequence.cases if case.id not in journal} for name, journal in one.items()}
            for one in files
        ]
        saved = self._saved(sequence.sha256)
        points = self._points(sequence, damage, gone)
        for asked in self.team.edit_sequence(sequence, wanted, before, gone, saved, points):
            if isinstance(asked, Measured):
                self._keep_damage(sequence, asked, damage)
                continue
            for number, records in enumerate(asked.records):
                for record in records:
                    if record.case_id in files[number][asked.file]:
                        continue  # of an edit that came to nothing again
                    self._record(number, files[number][asked.file], record, asked.file == CASES)
            if asked.file == CASES:
                self.observer.batch_done(asked.cases, asked.seconds)
            else:
                self._interrupted = True
        saved.clear()

    def _keep_damage(self, sequence: EditSequence, measured: Measured, damage: Sequence[Journal[DamageRecord]]) -> None:
        """Writes a line for each measurement that lacks it."""
        self._interrupted = True
        for journal in damage:
            if point_key(sequence.sha256, measured.edits) not in journal:
                line = DamageRecord(
                    sequence=sequence.sha256,
                    edits=measured.edits,
                    languages=measured.languages,
                    seconds=measured.seconds,
                    settings=journal.settings,
                )
                journal.append(line)

    def _record(self, number: int, journal: Journal[CaseRecord], record: CaseRecord, told: bool = True) -> None:
        written = journal.append(record)
        if told:
            if self._interrupted or self.job.regime.point == "after_all":
                self._tell()
            self._done += 1
            self.observer.case_done(record.case_id, written, self.settings[number].protocol)

    def _tell(self) -> None:
        self._interrupted = False
        self.observer.phase_started("edit", done=self._done, total=len(self.job.cases) * len(self.settings))

    def _saved(self, sequence: str) -> SavedSession:
        """The session of a sequence: of these settings, wherever its cases stand."""
        key = digest([self.settings[0].sha256, sequence])
        return SavedSession(self.job.measurements[0].folder / FOLDER, key)

    def _damage(self, journal: Journal[DamageRecord]) -> Damage:
        """In the order of the sequences, as the result has it."""
        keys = [point_key(one.sha256, edits) for edits in self.job.regime.asked_at for one in self.sequences]
        return mean_damage([journal.lines[key] for key in keys if key in journal], self.texts)

    def _retained(self, files: Files) -> dict[int, Sequence[CaseRecord]]:
        """In the order of the cases, as the result has them."""
        found: dict[int, Sequence[CaseRecord]] = {}
        for edits in self.job.retained:
            journal = files[RETENTION.format(edits)]
            found[edits] = [journal.lines[case.id] for case in self.job.cases if case.id in journal]
        return found
