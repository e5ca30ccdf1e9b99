"""Being stopped from outside: by Ctrl-C, by whoever manages the machine (SIGTERM), by a terminal that closes (SIGHUP)."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal that ends the process: it takes the way of Ctrl-C, so that what is cleaned up there is cleaned up here."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def stopping_in_order() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise `Stopped`; a second one ends the process at once.

    One that is ignored, as under ``nohup``, stays so. In another thread than the first nothing happens: only that one gets
    signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_DFL]

    def stop(number: int, frame: FrameType | None) -> None:
        for one in handled:
            signal.signal(one, signal.SIG_DFL)
        raise Stopped(number)

    for number in handled:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def exit_status(error: BaseException | None) -> int:
    """That of a process which a signal ended: 128 and its number, so 130 of Ctrl-C, 143 of SIGTERM, 129 of SIGHUP."""
    return 128 + (error.number if isinstance(error, Stopped) else signal.SIGINT)
