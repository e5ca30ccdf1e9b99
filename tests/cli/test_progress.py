"""How far a run is, and what libraries have to say meanwhile."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator

import pytest

from xkeb.cli.notices import HeldNotices
from xkeb.cli.output import PlainConsole
from xkeb.cli.time_left import RunProgress, in_words


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def started() -> tuple[RunProgress, Clock]:
    """Two methods with ten cases each, the first job begun."""
    clock = Clock()
    progress = RunProgress({"ft": 10, "rome": 10}, {"ft": ("m", "ft"), "rome": ("m", "rome")}, 20, 2, clock)
    progress.job_started("ft")
    progress.edits_started(10)
    return progress, clock


def test_time_left_is_that_of_the_cases_left_at_the_pace_of_each_method() -> None:
    progress, clock = started()
    assert progress.seconds_left() is None
    clock.seconds = 20.0
    for _ in range(4):  # a batch ends at once
        progress.case_done()
    assert progress.done == 4
    assert progress.seconds_left() == pytest.approx(6 * 5 + 10 * 5)  # of the other, nothing is known yet
    clock.seconds = 50.0
    assert progress.seconds_left() == pytest.approx(0 + 10 * 5), "it counts down, but no other job's time"
    for _ in range(6):
        progress.case_done()
    progress.job_ended()
    progress.job_started("rome")
    clock.seconds = 1000.0  # learning is no edit
    progress.edits_started(8)
    assert progress.done == 12 and progress.number == 2
    clock.seconds = 1010.0
    progress.case_done()
    assert progress.seconds_left() == pytest.approx(7 * 10)


def test_a_job_that_failed_leaves_nothing_to_wait_for() -> None:
    progress, clock = started()
    clock.seconds = 3.0
    progress.case_done()
    progress.job_ended()
    assert progress.done == 10
    assert progress.seconds_left() == pytest.approx(30.0)


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (119, "119 s"), (720, "12 min"), (7300, "2 h")])
def test_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    """A logger that brings its own way to the terminal, as transformers' does."""
    logger = logging.getLogger("a_library")
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    logger.propagate = False
    yield logger
    logger.removeHandler(handler)


def test_notices_of_libraries_wait_and_are_told_once(library: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a process that isn't pytest's
    out = io.StringIO()
    before = list(library.handlers)
    notices = HeldNotices(PlainConsole(file=out, force_terminal=True, color_system=None, width=80, highlight=False))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        notices.hold()
        for _ in range(3):
            library.warning("pad_token_id\nis set to %d", 0)
            warnings.warn("deprecated", UserWarning, stacklevel=1)
        logging.getLogger("xkeb.some.module").warning("Method 'x' left something changed.")
        said = out.getvalue()
        notices.tell()
    assert said == "Method 'x' left something changed.\n", "what is about the run is told at once"
    assert out.getvalue().removeprefix(said).splitlines() == [
        "Notices of libraries:",
        "  a_library: pad_token_id is set to 0 (3 times)",
        "  UserWarning: deprecated (3 times)",
    ]
    assert set(library.handlers) == set(before)
    notices.tell()
    assert out.getvalue().count("Notices") == 1


def test_nothing_waits_where_nobody_sees_bars(library: logging.Logger) -> None:
    before, show = list(library.handlers), warnings.showwarning
    notices = HeldNotices(PlainConsole(file=io.StringIO(), width=80))
    notices.hold()
    assert library.handlers == before and warnings.showwarning is show
