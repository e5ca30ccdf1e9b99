"""One sequence of edits on a loaded model: its batches one after another, and the questions between them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from xkeb.editing.changes import Change, Savable
from xkeb.editing.session import FailedEditError
from xkeb.evaluation.batches import run_in_batches
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.probing import predict_reference_state, predict_together
from xkeb.evaluation.scoring import score_case, skipped_case
from xkeb.evaluation.sequences.damage import DamageMeter, Unrelated
from xkeb.evaluation.sequences.order import EditSequence
from xkeb.evaluation.sequences.saved import SavedSession
from xkeb.evaluation.worker import Answers, JobWorker
from xkeb.results.damage import LanguageDamage
from xkeb.results.lines import CASES, CaseRecord
from xkeb.tasks.slices import slices_of
from xkeb.types import Case
from xkeb.utils.hashing import digest

Wanted = Sequence[Mapping[str, set[str]]]
"""Of each measurement, by file, the cases that it lacks."""
RETAINED = ("reliability", "generality")
"""What is asked again of earlier edits."""


@dataclass(frozen=True)
class Asked:
    """What came of some cases of a sequence."""

    file: str
    """That their lines go to."""
    cases: Sequence[Case]
    records: list[list[CaseRecord]]
    """Of each measurement, the lines that it lacks."""
    seconds: Mapping[str, float]
    """Of ``edit`` and ``evaluate``, for one case."""


@dataclass(frozen=True)
class Measured:
    """The damage after so many edits of a sequence."""

    edits: int
    languages: dict[str, LanguageDamage]
    seconds: float


class SequenceWorker:
    """A sequence, from the last session of it that was saved."""

    def __init__(
        self,
        worker: JobWorker,
        sequence: EditSequence,
        saved: SavedSession,
        size: int,
        fixed: bool,
        observer: RunObserver,
        meter: DamageMeter,
    ) -> None:
        """
        Args:
            size: most cases that are asked at once.
            fixed: the size was asked for, so it isn't divided.
            observer: told how far the edits are where nothing is asked between them.
            meter: of damage.
        """
        self.worker, self.sequence, self.saved = worker, sequence, saved
        self.size, self.fixed, self.observer, self.meter = size, fixed, observer, meter
        self.session = worker.editor.begin(worker.backbone)
        self.seconds: list[float] = []
        """Of each batch that is edited."""

    def run(
        self,
        wanted: Wanted,
        before: Sequence[Mapping[str, Answers]],
        gone: Mapping[str, str],
        points: Collection[int],
    ) -> Iterator[Asked | Measured]:
        """Edits and asks. What is yielded must be on disk before the next is asked for: a session is saved only then.

        Args:
            before: of each measurement, the answers before any edit.
            gone: cases that aren't edited, since they can't be, or came to nothing before.
            points: after how many edits damage is measured.
        """
        left_out = dict(gone)
        regime = self.sequence.regime
        done = self._go_on(wanted, left_out, points)
        for number in range(max(done, 1), regime.batches + 1):
            if number > done:
                if failed := self._edit(number, left_out):
                    yield failed
                if isinstance(self.session.change, Savable):
                    self.saved.save(self.session, number, self.seconds)
                if regime.point == "after_all" and regime.batches > 1:
                    self.observer.progress("edits of a sequence", number, regime.batches)
            for file, cases in self.sequence.asked_after(number):
                yield from self._ask(file, [case for case in cases if case.id not in left_out], number, wanted, before)
            if number * regime.batch in points and self.session.change is not None:
                yield self._measure(self.session.change, number * regime.batch)

    def _go_on(self, wanted: Wanted, gone: Mapping[str, str], points: Collection[int]) -> int:
        """How many batches the session holds. One that is past a question that is still to be asked can't be used."""
        done, seconds = self.saved.load(self.session)
        if any(self._is_open(number, wanted, gone, points) for number in range(1, done)):
            self.session = self.worker.editor.begin(self.worker.backbone)
            return 0
        self.seconds = seconds
        return done

    def _is_open(self, number: int, wanted: Wanted, gone: Mapping[str, str], points: Collection[int]) -> bool:
        """Whether something is still to be asked or measured after so many batches."""
        return number * self.sequence.regime.batch in points or any(
            case.id in of[file] and case.id not in gone
            for file, cases in self.sequence.asked_after(number)
            for of in wanted
            for case in cases
        )

    def _edit(self, number: int, gone: dict[str, str]) -> Asked | None:
        """Makes a batch of edits. Where it comes to nothing, the lines of its cases, which are gone from then on."""
        cases = [case for case in self.sequence.batch(number) if case.id not in gone]
        start = self.worker.timer.read()["edit"]
        # A method that draws from torch's own generator draws the same when the sequence goes on in another process.
        torch.manual_seed(int(digest([self.sequence.sha256, number])[:15], 16))
        reason = None
        with self.worker.timer.phase("edit"):
            try:
                if cases:
                    self.session.edit([case.edit for case in cases])
            except FailedEditError as error:
                reason = str(error)
        self.seconds.append(self.worker.timer.read()["edit"] - start)
        if reason is None:
            return None
        gone.update({case.id: reason for case in cases})
        records = [
            [skipped_case(case, reason, one.sha256, self.sequence.record(case)) for case in cases]
            for one in self.worker.settings
        ]
        return Asked(CASES, cases, records, {"edit": self.seconds[-1] / len(cases), "evaluate": 0.0})

    def _ask(
        self,
        file: str,
        cases: Sequence[Case],
        number: int,
        wanted: Wanted,
        before: Sequence[Mapping[str, Answers]],
    ) -> Iterator[Asked]:
        """The answers of some cases after so many batches."""
        edits = number * self.sequence.regime.batch

        def answer(some: Sequence[Case]) -> Asked:
            start = self.worker.timer.read()["evaluate"]
            records = []
            for measurement, of in enumerate(wanted):
                lacking = [case for case in some if case.id in of[file]]
                records.append(self._lines(measurement, lacking, before[measurement], file != CASES, edits))
            spent = (self.worker.timer.read()["evaluate"] - start) / len(some)
            return Asked(file, some, records, {"edit": self._edit_seconds(some[0]), "evaluate": spent})

        todo = [case for case in cases if any(case.id in of[file] for of in wanted)]
        for _, asked in run_in_batches(todo, self.size, answer, self.observer, fixed=self.fixed):
            yield asked

    def _lines(
        self, measurement: int, cases: Sequence[Case], before: Mapping[str, Answers], again: bool, edits: int
    ) -> list[CaseRecord]:
        """The lines of cases that are asked under all edits so far.

        Args:
            again: they are earlier edits, of which only some questions are asked.
        """
        if not cases or self.session.change is None:
            return []
        worker, change = self.worker, self.session.change
        protocol = worker.protocols[measurement]
        kept = [[i for i, one in enumerate(case.probes) if not again or one.property in RETAINED] for case in cases]
        asked = [
            dataclasses.replace(case, probes=tuple(case.probes[i] for i in ids))
            for case, ids in zip(cases, kept, strict=True)
        ]
        start = worker.timer.read()["evaluate"]
        with worker.timer.phase("evaluate"):
            after = predict_together(worker.backbone, change, asked, protocol)
            compared = predict_reference_state(worker.backbone, [change] * len(asked), asked, protocol)
        spent = worker.timer.read()["evaluate"] - start
        worker.seconds[measurement]["evaluate"] += spent
        return [
            score_case(
                part,
                [compared[k].get(place, before[case.id][i]) for place, i in enumerate(kept[k])],
                after[k],
                worker.backbone,
                worker.job.measurements[measurement].metrics,
                {"edit": self._edit_seconds(case), "evaluate": spent / len(cases)},
                worker.settings[measurement].sha256,
                protocol,
                slices_of(case, worker.job.task.trained_answers),
                self.sequence.record(case, edits),
            )
            for k, (case, part) in enumerate(zip(cases, asked, strict=True))
        ]

    def _measure(self, change: Change, edits: int) -> Measured:
        worker = self.worker
        start = worker.timer.read()["evaluate"]
        with worker.timer.phase("evaluate"):
            languages = self.meter.measure(change, self._unrelated)
        spent = worker.timer.read()["evaluate"] - start
        for seconds in worker.seconds:
            seconds["evaluate"] += spent / len(worker.seconds)
        return Measured(edits, languages, spent)

    @functools.cached_property
    def _unrelated(self) -> Unrelated:
        """Those of locality of all cases of the sequence, also of those that can't be edited: the same at each point."""
        return self.meter.questions(self.sequence.cases)

    def _edit_seconds(self, case: Case) -> float:
        """Of one case's edit, its share of the batch."""
        size = self.sequence.regime.batch
        return self.seconds[(self.sequence.places[case.id] - 1) // size] / size
