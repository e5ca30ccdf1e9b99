"""A run on cores that others use says so, and its threads sleep while they wait."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from xkeb.cli.cores import advice, busy_cores

SPIN = "while True: pass"
LOOK = """
import os, sys
from xkeb.cli.cores import make_way
said = make_way()
print(said, "torch" in sys.modules, os.environ.get("OMP_WAIT_POLICY"), sep="|")
"""


@pytest.mark.parametrize(
    ("busy", "cores", "threads", "said"),
    [
        (0.0, 2, 2, None),
        (0.4, 2, 2, None),
        (0.6, 2, 2, "keep 0.6 of 2 cores busy, and this run has 2 threads: OMP_NUM_THREADS=1 makes it faster"),
        (2.0, 2, 2, "OMP_NUM_THREADS=1 makes"),
        (2.0, 2, 1, None),
        (5.0, 16, 16, "keep 5.0 of 16 cores busy, and this run has 16 threads: OMP_NUM_THREADS=11 makes it faster"),
        (5.0, 16, 8, None),
    ],
)
def test_as_many_threads_as_cores_are_free_are_no_news(busy: float, cores: int, threads: int, said: str | None) -> None:
    found = advice(busy, cores, threads)
    assert found is None if said is None else found is not None and said in found


@pytest.fixture
def all_spin() -> Iterator[None]:
    """A process for each core that does nothing else."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in os.sched_getaffinity(0)]
    yield
    for one in spinning:
        one.kill()
        one.wait()


def looked(**environment: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip().split("|")


def test_busy_cores_are_seen(all_spin: None) -> None:
    cores = sorted(os.sched_getaffinity(0))
    assert busy_cores(cores) > 0.5 * len(cores)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core has one thread in any case")
def test_threads_sleep_where_cores_are_busy(all_spin: None) -> None:
    said, torch, policy = looked()
    assert "cores busy" in said and (torch, policy) == ("False", "passive")
    assert looked(OMP_WAIT_POLICY="active")[2] == "active"  # whoever says so knows why


def test_one_thread_waits_for_nobody(all_spin: None) -> None:
    assert looked(OMP_NUM_THREADS="1") == ["None", "False", "None"]
