"""`xkeb.evaluation.timing`: every moment belongs to one phase."""

from __future__ import annotations

import pytest
import torch

from xkeb.evaluation import timing
from xkeb.evaluation.timing import PhaseTimer


class Clock:
    """Time that passes where the test says so."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_time_is_of_the_innermost_phase_and_else_of_the_suite(time: Clock) -> None:
    timer = PhaseTimer(torch.device("cpu"), load=3.0)
    with timer.phase("fit"):
        time.sleep(1)
        with timer.phase("edit"):
            time.sleep(2)
        time.sleep(4)
    with pytest.raises(ValueError, match="within"), timer.phase("evaluate"):
        time.sleep(8)
        raise ValueError("within")
    time.sleep(16)
    assert timer.read() == {"load": 3.0, "before": 0.0, "fit": 5.0, "edit": 2.0, "evaluate": 8.0, "suite": 16.0}
    assert list(timer.read()) == ["load", "before", "fit", "edit", "evaluate", "suite"]
    time.sleep(32)
    assert timer.read()["suite"] == 48.0 and timer.read()["fit"] == 5.0


def test_a_phase_that_comes_again_adds_up(time: Clock) -> None:
    timer = PhaseTimer(torch.device("cpu"))
    for seconds in (1, 2):
        with timer.phase("edit"):
            time.sleep(seconds)
    assert timer.read()["edit"] == 3.0
