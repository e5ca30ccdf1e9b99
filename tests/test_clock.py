"""`xkeb.evaluation.timing`: every moment belongs to one phase."""

from __future__ import annotations

import time

import pytest
import torch

from xkeb.evaluation.timing import PhaseTimer

NAP = 0.05


def test_time_is_of_the_innermost_phase_and_else_of_the_suite() -> None:
    start = time.perf_counter()
    clock = PhaseTimer(torch.device("cpu"), load=3.0)
    with clock.phase("fit"):
        time.sleep(NAP)
        with clock.phase("edit"):
            time.sleep(2 * NAP)
        time.sleep(NAP)
    with pytest.raises(ValueError, match="within"), clock.phase("evaluate"):
        raise ValueError("within")
    time.sleep(3 * NAP)
    found = clock.read()
    spent = time.perf_counter() - start
    assert list(found) == ["load", "before", "fit", "edit", "evaluate", "suite"]
    assert (found["load"], found["before"]) == (3.0, 0.0)
    assert found["fit"] >= 2 * NAP
    assert found["edit"] >= 2 * NAP
    assert found["suite"] >= 3 * NAP
    assert sum(found.values()) - 3.0 == pytest.approx(spent, abs=0.001)
    time.sleep(NAP)
    assert clock.read()["suite"] >= found["suite"] + NAP
    assert clock.read()["fit"] == found["fit"]
