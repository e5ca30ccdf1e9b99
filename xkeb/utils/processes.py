"""Processes that share this one's work."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

Thing = TypeVar("Thing")
Result = TypeVar("Result")


def in_processes(
    act: Callable[[Thing], Result],
    things: Sequence[Thing],
    workers: int,
    begin: Callable[[], None],
    *,
    patient: bool = True,
) -> Generator[Result, None, None]:
    """What `act` makes of each of the things, in their order. The processes end with this one, however it ends.

    Args:
        begin: what each process does first.
        patient: when this one is interrupted, the others finish what they are at.

    Raises:
        BrokenProcessPool: a process ended that wasn't asked to.
    """
    others = set(multiprocessing.active_children())
    # A fork would wait for threads that aren't there.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), partial(_begin, begin))
    try:
        yield from pool.map(act, things)
    except BaseException:
        if not patient:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(begin: Callable[[], None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin()
    gc.freeze()  # what is imported stays; each look for garbage would pass over all of it


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
