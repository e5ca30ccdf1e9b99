"""How code that takes long says how far it is, without knowing who watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Report = Callable[[str, int, int], None]
"""Takes what is being done, in a few words, how many steps are done, and how many there are."""

_report: ContextVar[Report | None] = ContextVar("report", default=None)


@contextmanager
def reporting_to(report: Report) -> Iterator[None]:
    """Inside, `report_progress` calls `report`."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def report_progress(what: str, done: int, total: int) -> None:
    """Tells whoever watches how far a long step is; for use inside ``fit``."""
    if report := _report.get():
        report(what, done, total)
