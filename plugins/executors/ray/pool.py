"""Workers that may be lost: each is busy with one call at a time, and is started anew when its process is gone."""

from __future__ import annotations

import contextlib
import enum
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xkeb.errors import XkebError
from xkeb.types import Case

LOG = logging.getLogger(__name__)
STARTS = 3
"""Times in a row that a worker may be lost without cases in hand."""


class Stage(enum.IntEnum):
    """How far a worker is."""

    NEW = 0
    OPEN = 1
    """It has the model."""
    BEGUN = 2
    """It has the job."""
    READY = 3
    """Its method has learned what another worker's has learned."""


@dataclass
class Slot:
    """A worker's place."""

    number: int
    handle: Any = None
    stage: Stage = Stage.NEW
    ref: Any = None
    """Of the call that it is busy with."""
    then: Callable[[Any], None] = lambda value: None
    """Takes what that call returns."""
    chunk: Sequence[Case] = ()
    """The cases of that call."""
    deadline: float | None = None
    """Until when it should be open."""
    lost: int = 0
    """Times that it was lost without cases in hand since it last answered any."""
    lives: int = 0
    closed: str = ""
    """Why it isn't started any more."""
    keeping: list[Any] = field(default_factory=list)
    """Calls that it makes before that one, and nobody waits for."""


class Pool:
    """The workers of a model. Whoever uses it says by `advance` what a worker without a call does next."""

    def __init__(self, ray: Any, start: Callable[[], Any], workers: int, start_seconds: float) -> None:
        """
        Args:
            start: starts a process; returns at once.
            start_seconds: in which a worker must have loaded the model.
        """
        self.ray, self._start, self.start_seconds = ray, start, start_seconds
        self.slots = [Slot(number) for number in range(workers)]
        self.advance: Callable[[Slot], None] = lambda slot: None
        self.on_lost: Callable[[Sequence[Case], str], None] = lambda cases, reason: None
        """Takes the cases that a lost worker had, and what became of it."""
        self.lost = 0
        """Times that a worker was lost."""
        self.lost_with: Counter[str] = Counter()
        """Of these, how many with a case in hand, by its id."""

    def start(self, slot: Slot) -> None:
        """Starts a worker's process. A constructor that fails isn't tried again by Ray, nor is a process that is scheduled
        nowhere told of: hence the deadline."""
        slot.handle = self._start()
        slot.lives += 1
        slot.deadline = time.monotonic() + self.start_seconds

    def send(self, slot: Slot, then: Callable[[Any], None], name: str, *args: Any, chunk: Sequence[Case] = ()) -> None:
        """Has a worker do something."""
        slot.ref, slot.then, slot.chunk = slot.handle.call.remote(name, *args), then, chunk

    def wait(self) -> None:
        """Has idle workers go on, waits for one call, a moment at most, and passes on what it returned.

        Raises:
            XkebError: what the call raised: it ran, in whole or in part, and isn't made again. Or no worker is left.
        """
        for slot in self.slots:
            if slot.ref is None and not slot.closed:
                self.advance(slot)
        by_ref = {slot.ref: slot for slot in self.slots if slot.ref is not None}
        if not by_ref:
            if all(slot.closed for slot in self.slots):
                raise XkebError(f"No worker could be started: {self.slots[0].closed}.")
            return
        done, _ = self.ray.wait(list(by_ref), num_returns=1, timeout=0.5)
        for ref in done:
            self._take(by_ref[ref], ref)
        for slot in self.slots:
            if slot.stage is Stage.NEW and slot.deadline is not None and time.monotonic() > slot.deadline:
                slot.closed = (
                    f"it had not loaded the model after {self.start_seconds:g} s; the cluster has "
                    f"{_described(self.ray.cluster_resources())}"
                )
                self._lose(slot, slot.closed)

    def _take(self, slot: Slot, ref: Any) -> None:
        errors = self.ray.exceptions
        try:
            value = self.ray.get(ref)
        except errors.RayTaskError as error:
            slot.ref, slot.chunk = None, ()
            if slot.stage < Stage.BEGUN:  # of what it holds nothing can be used
                self.discard(slot)
            cause = error.cause
            raise (cause if isinstance(cause, XkebError) else XkebError(_last_line(error))) from None
        except errors.RayError as error:
            self._lose(slot, _last_line(error))
            return
        then, slot.ref, slot.chunk, slot.deadline, slot.keeping = slot.then, None, (), None, []
        then(value)

    def _lose(self, slot: Slot, reason: str) -> None:
        LOG.info("Worker %d is lost: %s", slot.number, reason)
        if not slot.chunk:  # else it may be the cases' fault, whose tries are counted
            slot.lost += 1
        if slot.lost >= STARTS and not slot.closed:
            slot.closed = reason
        if slot.closed:
            LOG.warning("Worker %d isn't started any more: %s", slot.number, slot.closed)
        chunk = slot.chunk
        self.discard(slot)
        self.lost += 1
        self.lost_with.update(case.id for case in chunk)
        if chunk:
            self.on_lost(chunk, reason)

    def discard(self, slot: Slot) -> None:
        """Ends a worker's process."""
        if slot.handle is not None:
            with contextlib.suppress(Exception):  # it is gone already
                self.ray.kill(slot.handle, no_restart=True)
        slot.handle, slot.stage, slot.ref, slot.chunk, slot.deadline, slot.keeping = None, Stage.NEW, None, (), None, []

    def close(self) -> None:
        """Ends all processes."""
        for slot in self.slots:
            self.discard(slot)


def _last_line(error: Exception) -> str:
    """Ray's errors are long, and end with what matters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removesuffix(".") if lines else type(error).__name__


def _described(resources: dict[str, float]) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
