"""Processes that write the files of results, since reading and checking journals is nearly all of the work."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from xkeb.errors import XkebError
from xkeb.leaderboard.rows.entries import Entry
from xkeb.leaderboard.site.folder import Site
from xkeb.leaderboard.site.result_pages import Job, ResultWriter, Written
from xkeb.results.lines import CASES
from xkeb.utils.processes import in_processes

WORTH_A_PROCESS = 64 * 2**20
"""Bytes of journals, whose reading takes longer than the start of a process."""
_WRITERS: list[ResultWriter] = []
"""Of a process that was started to write: one."""


def best_workers(entries: Sequence[Entry]) -> int:
    """How many processes these results are worth, at most one for each core that this one may use."""
    journals = [entry.folder / CASES for entry in entries if entry.folder is not None]
    size = sum(path.stat().st_size for path in journals if path.is_file())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, size // WORTH_A_PROCESS))


def write_all(site: Site, jobs: Sequence[Job], workers: int) -> Generator[Written, None, None]:
    """What the jobs give, in their order.

    Args:
        workers: processes; 1: this one.

    Raises:
        XkebError: a process ended that wasn't asked to.
    """
    if workers < 2:
        yield from map(ResultWriter(site).write, jobs)
        return
    begin = partial(_start, site.folder, site.templates.globals["pages"])
    try:
        yield from in_processes(_write, jobs, workers, begin)  # those at work finish: the folder is theirs, too
    except BrokenProcessPool as error:
        raise XkebError(
            "A process that wrote pages of results was killed, as the system does when memory runs out; "
            "--workers 1 needs least."
        ) from error


def _start(folder: Path, pages: Any) -> None:
    """Makes this process a writer.

    Args:
        pages: the names of pages, as templates of the site have them.
    """
    site = Site(folder)
    site.templates.globals["pages"] = pages
    _WRITERS.append(ResultWriter(site))


def _write(job: Job) -> Written:
    return _WRITERS[0].write(job)
