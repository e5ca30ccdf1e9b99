"""Being stopped by a signal while others work: they finish what they have in hand, and then the signal takes its way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignal:
    """Inside, the first Ctrl-C, SIGTERM or SIGHUP is only noted. A second one does at once what the first would have done.

    An exception that is raised wherever the process happens to be could leave a line of a journal on disk that the journal
    doesn't know of; what goes on writing after a signal must not be interrupted by it. A signal that is ignored stays so. In
    another thread than the first nothing happens: only that one gets signals.
    """

    def __init__(self, told: Callable[[], None]) -> None:
        """
        Args:
            told: called at the first signal.
        """
        self._told = told
        self._before: dict[int, Any] = {}
        self._number: int | None = None

    @property
    def noted(self) -> bool:
        return self._number is not None

    def pass_on(self) -> None:
        """Does what the noted signal would have done: as a rule it raises a `KeyboardInterrupt`."""
        if self._number is not None:
            number, self._number = self._number, None
            self._before[number](number, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.noted:
            self._before[number](number, frame)
        self._number = number
        self._told()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: before for number in SIGNALS if callable(before := signal.getsignal(number))}
            for number in self._before:
                signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
