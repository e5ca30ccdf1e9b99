"""The workers of a job, as its runner sees them."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from xkeb.errors import RequestError, XkebError
from xkeb.evaluation.batches import chunks
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.executors.interrupts import StopSignal
from xkeb.evaluation.executors.shared_model import changed_model, set_aside
from xkeb.evaluation.job import Job
from xkeb.evaluation.scoring import skipped_case
from xkeb.evaluation.team import Before, JobAbout, Spent, Wanted
from xkeb.evaluation.timing import Phase, PhaseTimer
from xkeb.evaluation.worker import Batch
from xkeb.results.lines import BaselineRecord
from xkeb.types import Case
from xkeb.utils.progress import Report
from xkeb_plugins.executors.ray.pool import Pool, Slot, Stage
from xkeb_plugins.executors.ray.remote_worker import Answered, Begun, check_software

LOG = logging.getLogger(__name__)
TRIES = 2
"""Times that a case may be alone with a worker that is lost."""
MORE_TRIES = 3
"""More of them, one for each worker that the run has lost without that case: then something else loses workers, too."""
ROUNDS = 2
"""Chunks for each worker, at least, where there are enough cases: so that none waits long for the last one."""


class RayTeam:
    """Answers the cases of one job by the workers of a pool. See `xkeb.evaluation.team.Team`."""

    def __init__(
        self,
        job: Job,
        pool: Pool,
        config: RunConfig,
        observer: RunObserver,
        stop: StopSignal,
        software: Mapping[str, str],
    ) -> None:
        """Waits until a worker has the job.

        Args:
            software: of this process, which each worker's must equal.

        Raises:
            RequestError: a worker's software, or what it loaded, is another.
            XkebError: no worker can be started, or the model can't be loaded.
        """
        self.job, self.pool, self.config, self.observer, self.stop = job, pool, config, observer, stop
        self.given_up: dict[str, str] = {}
        self._software = software
        self._sent = pool.ray.put(dataclasses.replace(job, skeleton=None))  # a worker has the model itself
        self._timer = PhaseTimer(torch.device("cpu"))
        self._before = [0.0] * len(job.measurements)
        self._spent: dict[tuple[int, int], Spent] = {}  # of each life of each worker
        self._alone: collections.Counter[str] = collections.Counter()
        """By case: workers that were lost with it alone in hand."""
        self._learned: Sequence[str] | None = None
        self._begun: Begun | None = None
        pool.advance, pool.on_lost = self._advance, lambda cases, reason: None
        with self._timer.phase("load"):
            while self._begun is None:
                self._wait()
        about = self._begun.about
        self.about: JobAbout = dataclasses.replace(about, environment={**about.environment, "workers": len(pool.slots)})

    # What a worker does next --------------------------------------------------------------------------------------------

    def _advance(self, slot: Slot) -> None:
        if slot.stage is Stage.NEW:
            self.pool.start(slot)
            self.pool.send(slot, lambda theirs: self._opened(slot, theirs), "open", self._sent, self.config)
        elif slot.stage is Stage.OPEN:
            self.pool.send(slot, lambda begun: self._has_begun(slot, begun), "begin", self._sent, self.config)
        elif slot.stage is Stage.BEGUN and self._learned is not None:
            self.pool.send(slot, lambda names: self._share(slot, names), "lacking", self._learned)

    def _opened(self, slot: Slot, theirs: Mapping[str, str]) -> None:
        check_software(self._software, theirs)
        slot.stage = Stage.OPEN

    def _has_begun(self, slot: Slot, begun: Begun) -> None:
        if self._begun is None:
            self._begun = begun
        elif _hashes(begun.about) != _hashes(self._begun.about):
            raise RequestError(
                f"Two workers have another {self.job.model!r}, or other settings of {self.job.method!r}: the hashes of what "
                "their cases depend on differ."
            )
        slot.stage = Stage.BEGUN

    def _share(self, slot: Slot, names: Sequence[str]) -> None:
        """Has a worker read what another has learned. Where it lacks the files, they go from one to the other."""
        holder = next((one for one in self.pool.slots if one.stage is Stage.READY), None)
        for name in names if holder else ():
            assert holder is not None
            # Where that fails, since the other is lost in between, this one learns for itself.
            content = holder.handle.call.remote("artifact", name)
            slot.keeping.append(slot.handle.call.remote("keep", name, content))
        self.pool.send(slot, lambda _: self._ready(slot), "learn")

    @staticmethod
    def _ready(slot: Slot) -> None:
        slot.stage = Stage.READY

    def _usable(self, slot: Slot) -> bool:
        return slot.stage >= (Stage.BEGUN if self._learned is None else Stage.READY)

    # What the runner asks for -------------------------------------------------------------------------------------------

    def learn(self, report: Report) -> None:
        """One worker learns; the others read what it learned."""
        lost = 0
        learner: tuple[Slot, int] | None = None

        def learned(names: Sequence[str]) -> None:
            assert learner is not None
            self._ready(learner[0])
            self._learned = names

        with self._timer.phase("fit"):
            while self._learned is None:
                if learner is not None and (learner[0].lives, learner[0].ref is None) != (learner[1], False):
                    learner, lost = None, lost + 1
                    if lost >= TRIES:
                        raise XkebError(f"Worker after worker was lost while {self.job.method!r} learned.")
                free = next((one for one in self.pool.slots if one.ref is None and one.stage is Stage.BEGUN), None)
                if learner is None and free is not None:
                    learner = (free, free.lives)
                    self.pool.send(free, learned, "learn")
                self._wait()

    def answer_before(self, number: int, cases: Sequence[Case]) -> Iterator[list[BaselineRecord]]:
        def answered(slot: Slot, value: tuple[list[BaselineRecord], Spent]) -> list[BaselineRecord]:
            self._spent[slot.number, slot.lives] = value[1]
            return value[0]

        start = self._timer.read()["before"]
        size = self._size(len(cases), 2)
        yield from self._each("before", cases, size, "answer_before", lambda chunk: (number,), answered)
        self._before[number] += self._timer.read()["before"] - start

    def why_unsupported(self, cases: Sequence[Case]) -> Mapping[str, str]:
        size = self._size(len(cases), len(cases))
        found = self._each("suite", cases, size, "why_unsupported", lambda chunk: (), lambda slot, reasons: reasons)
        return {case_id: reason for reasons in found for case_id, reason in reasons.items()}

    def edit_and_ask(
        self, cases: Sequence[Case], wanted: Wanted, before: Before
    ) -> Iterator[tuple[Sequence[Case], Batch]]:
        by_id = {case.id: case for case in cases}

        def of_chunk(chunk: Sequence[Case]) -> tuple[Wanted, Before]:
            ids = {case.id for case in chunk}
            return [ids & one for one in wanted], [{i: one[i] for i in ids if i in one} for one in before]

        def answered(slot: Slot, value: Answered) -> Answered:
            self._spent[slot.number, slot.lives] = value.spent
            for size in value.shrunk:
                self.observer.batch_shrunk(size)
            return value

        size = self.config.batch_size or self._size(len(cases), 1)
        for value in self._each("edit", cases, size, "edit_and_ask", of_chunk, answered):
            for ids, batch in value.batches:
                yield [by_id[case_id] for case_id in ids], batch
        for case_id in [case_id for case_id in self.given_up if case_id in by_id]:
            records = [
                [skipped_case(by_id[case_id], self.given_up[case_id], settings.sha256)] if case_id in ids else []
                for ids, settings in zip(wanted, self.about.settings, strict=True)
            ]
            yield [by_id[case_id]], Batch(records, {"edit": 0.0, "evaluate": 0.0})

    def edit_sequence(self, *_: Any) -> Iterator[Any]:
        """Refused, as the executor refuses such jobs before."""
        raise RequestError(f"{self.job.name}: the edits of one model can't be divided among workers.")

    def spent(self) -> Spent:
        """The clock's seconds. Those in which workers edited and asked are divided as theirs were."""
        phases = self._timer.read()
        theirs = list(self._spent.values())
        edit = sum(one.phases["edit"] for one in theirs)
        evaluate = [
            sum(one.measurements[number]["evaluate"] for one in theirs) for number in range(len(self.job.measurements))
        ]
        share = phases["edit"] / (edit + sum(evaluate)) if edit + sum(evaluate) else 0.0
        return Spent(
            phases={**phases, "edit": edit * share},
            measurements=[
                {"before": before, "evaluate": own * share} for before, own in zip(self._before, evaluate, strict=True)
            ],
            peak_memory=max((one.peak_memory for one in theirs), default=0),
        )

    # How -----------------------------------------------------------------------------------------------------------------

    def _size(self, n_cases: int, batches: int) -> int:
        """Cases of a chunk: so many batches, or fewer where a worker would get none."""
        assert self._begun is not None
        return max(1, min(batches * self._begun.batch, -(-n_cases // (ROUNDS * len(self.pool.slots)))))

    def _each(
        self,
        phase: Phase,
        cases: Sequence[Case],
        size: int,
        name: str,
        more: Callable[[Sequence[Case]], tuple[Any, ...]],
        take: Callable[[Slot, Any], Any],
    ) -> Iterator[Any]:
        """What a worker's method returns for each chunk of the cases, as it comes.

        A lost worker's cases go to another one, by halves. One that is alone with a lost worker for the second time is given
        up, or later where workers are lost without it, too. After a signal, what the workers have in hand is waited for, and
        then the signal takes its way.
        """
        waiting = collections.deque(chunks([case for case in cases if case.id not in self.given_up], size))
        done: collections.deque[Any] = collections.deque()
        out = 0

        def advance(slot: Slot) -> None:
            nonlocal out
            if waiting and self._usable(slot) and not self.stop.noted:
                chunk = waiting.popleft()
                out += 1
                self.pool.send(slot, lambda value: got(slot, value), name, chunk, *more(chunk), chunk=chunk)
            elif not self.stop.noted:
                self._advance(slot)

        def got(slot: Slot, value: Any) -> None:
            nonlocal out
            out -= 1
            slot.lost = 0
            done.append(take(slot, value))

        def lost(chunk: Sequence[Case], reason: str) -> None:
            nonlocal out
            out -= 1
            if len(chunk) > 1:
                half = -(-len(chunk) // 2)
                waiting.extendleft([chunk[half:], chunk[:half]])
                return
            (case,) = chunk
            self._alone[case.id] += 1
            others = self.pool.lost - self.pool.lost_with[case.id]
            if self._alone[case.id] < TRIES + min(others, MORE_TRIES):
                waiting.append(chunk)
            else:
                self.given_up[case.id] = f"its worker was lost {self._alone[case.id]} times: {reason}"

        self.pool.advance, self.pool.on_lost = advance, lost
        try:
            while out or (waiting and not self.stop.noted):
                with self._timer.phase(phase):
                    self.pool.wait()
                while done:
                    yield done.popleft()
            self.stop.pass_on()
        finally:
            self.pool.advance, self.pool.on_lost = self._advance, lambda cases, reason: None

    def _wait(self) -> None:
        self.pool.wait()
        self.stop.pass_on()

    # The end ---------------------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a worker has cases in hand, or learns."""
        return any(slot.ref is not None and slot.stage >= Stage.BEGUN for slot in self.pool.slots)

    def end(self) -> None:
        """Has each worker put its process back, ready for the next job.

        Raises:
            PluginError: the job left a model changed; its cases are set aside.
        """
        changes: list[str] = []

        def ended(slot: Slot, left: tuple[str, str]) -> None:
            process, model = left
            slot.stage = Stage.OPEN
            if process:
                LOG.warning("Method %r left %s changed in a worker; it is put back.", self.job.method, process)
            if model:
                changes.append(model)

        asked: set[int] = set()

        def advance(slot: Slot) -> None:
            if slot.stage >= Stage.BEGUN and slot.number in asked:  # it raised
                self.pool.discard(slot)
            elif slot.stage >= Stage.BEGUN:
                asked.add(slot.number)
                self.pool.send(slot, lambda left: ended(slot, left), "end")

        self.pool.advance, self.pool.on_lost = advance, lambda cases, reason: None
        while any(
            slot.stage >= Stage.BEGUN or (slot.stage is Stage.OPEN and slot.ref is not None) for slot in self.pool.slots
        ):
            with contextlib.suppress(XkebError):  # of a call that was under way: the job has failed already
                self.pool.wait()
        if changes:
            set_aside(self.job)
            raise changed_model(self.job, changes[0])


def _hashes(about: JobAbout) -> list[str]:
    return [*(settings.sha256 for settings in about.settings), *(sha256 for _, sha256 in about.baselines)]
