"""Whether the processor's cores are free before a run takes them.

A run's threads wait for each other after every product. While they wait they spin, each on a core of its own; if another
process wants that core, all of them wait for it, and a run takes several times as long (docs/performance.md).
"""

from __future__ import annotations

import os
import sys
import time

import psutil

WINDOW = 0.2
"""Seconds in which others are watched."""
THREADS, WAITING = "OMP_NUM_THREADS", "OMP_WAIT_POLICY"
"""What OpenMP reads as PyTorch is imported, and never again."""


def make_way() -> str | None:
    """Looks at the cores; where they are in use, has the threads of this process sleep while they wait.

    It works before PyTorch is imported, and no number changes by it.

    Returns:
        what to tell whoever runs on these cores; None if there is room.
    """
    cores = _own_cores()
    given = os.environ.get(THREADS, "")
    threads = int(given) if given.isdecimal() else len(cores)
    if threads == 1:
        return None
    said = advice(busy_cores(cores), len(cores), threads)
    if said and "torch" not in sys.modules:
        os.environ.setdefault(WAITING, "passive")
    return said


def advice(busy: float, cores: int, threads: int) -> str | None:
    """What to say where other processes keep so many cores busy; None where as many as there are threads are free."""
    free = _free(busy, cores)
    if threads <= free:
        return None
    return (
        f"Other processes keep {busy:.1f} of {cores} cores busy, and this run has {threads} threads: "
        f"{THREADS}={free} makes it faster."
    )


def free_cores() -> int:
    """How many no other process uses, at least one."""
    cores = _own_cores()
    return _free(busy_cores(cores), len(cores))


def _free(busy: float, cores: int) -> int:
    return max(1, round(cores - busy))


def busy_cores(cores: list[int]) -> float:
    """How many of them other processes use, on average over `WINDOW`."""
    before, mine, start = _used(cores), time.process_time(), time.monotonic()
    time.sleep(WINDOW)
    used = _used(cores) - before - (time.process_time() - mine)
    return min(len(cores), max(0.0, used / (time.monotonic() - start)))


def _own_cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _used(cores: list[int]) -> float:
    """Seconds in which they were not idle, since the machine was started."""
    times = psutil.cpu_times(percpu=True)
    return sum(sum(times[core]) - times[core].idle - getattr(times[core], "iowait", 0.0) for core in cores)
