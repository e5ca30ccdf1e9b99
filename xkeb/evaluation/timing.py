"""Where the time of a job goes: every moment belongs to one phase."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

Phase = Literal["load", "before", "fit", "edit", "evaluate", "suite"]
"""What a job's time goes to: loading the model (counted for the first job that needs it), its answers before any edit,
learning, editing, its answers after the edits, and everything else. The fields of `xkeb.results.result.Phases`."""

SUITE: Phase = "suite"


class PhaseTimer:
    """Runs from the moment it is made. What no phase is named for is the suite's own: scores, journal, means."""

    def __init__(self, device: torch.device, load: float = 0.0) -> None:
        """
        Args:
            load: seconds in which the model was loaded, before the clock was there.
        """
        self.device = device
        self._seconds: dict[str, float] = dict.fromkeys(get_args(Phase), 0.0)
        self._seconds["load"] = load
        self._phase, self._since = SUITE, time.perf_counter()

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """What happens inside is time of this phase, and not of the one around it."""
        outer = self._turn(name)
        try:
            yield
        finally:
            self._turn(outer)

    def _turn(self, name: Phase) -> Phase:
        """Another phase begins. Returns the one that ends."""
        if self.device.type == "cuda":  # else a phase would pay for what the one before it left to be done
            torch.cuda.synchronize(self.device)
        outer, now = self._phase, time.perf_counter()
        self._seconds[outer] += now - self._since
        self._phase, self._since = name, now
        return outer

    def read(self) -> dict[str, float]:
        """Seconds of each phase up to now."""
        self._turn(self._phase)
        return dict(self._seconds)
