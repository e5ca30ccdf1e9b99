"""Several processes write what one writes, and end when they should."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_results import answered, put, result

from xkeb.errors import RequestError, XkebError
from xkeb.leaderboard.rows.entries import find_results
from xkeb.leaderboard.site import workers
from xkeb.leaderboard.site.build import build_site
from xkeb.leaderboard.site.folder import Site
from xkeb.results.lines import CASES


def contents(site: Path) -> dict[str, bytes]:
    return {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Results of two models, which differ in their cases, and one whose journal is damaged in its middle."""
    for i in range(7):
        lines = answered(30, range(i, 30), subjects=12)
        put(tmp_path / "results" / str(i), result(model=f"x{i % 2}", method=f"m{i}", n_cases=30), lines)
    damaged = tmp_path / "results" / "3" / CASES
    damaged.write_bytes(damaged.read_bytes().replace(b'"case_id": "11"', b'"case_id": "12"'))
    return tmp_path / "results"


def test_the_site_is_the_same_however_many_write_it(root: Path, tmp_path: Path) -> None:
    one, three = (build_site([root], tmp_path / str(n), workers=n).index.parent for n in (1, 3))
    written = contents(one)
    assert written == contents(three)
    damaged = [path for path, content in written.items() if b"has a damaged cases.jsonl" in content]
    assert len(damaged) == 1 and damaged[0].startswith("results/")


def test_no_more_processes_than_the_results_are_worth(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = find_results([root]).entries
    size = sum(path.stat().st_size for path in root.rglob(CASES))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    found = []
    for worth in (workers.WORTH_A_PROCESS, size // 3, 1):
        monkeypatch.setattr(workers, "WORTH_A_PROCESS", worth)
        found.append(workers.best_workers(entries))
    assert found == [1, 3, 4]


def test_a_number_below_one_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"--workers must be at least 1, not 0\."):
        build_site([root], tmp_path / "site", workers=0)


def test_a_process_that_is_killed_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_write", os._exit)
    site = Site(tmp_path)
    site.templates.globals["pages"] = {}
    with pytest.raises(XkebError, match=r"A process that wrote pages of results was killed, .* --workers 1"):
        list(workers.write_all(site, [1, 1], 2))  # type: ignore[list-item]


STARTED = """
import sys, time
from pathlib import Path
from xkeb.leaderboard.site import workers
from xkeb.leaderboard.site.folder import Site

if __name__ == "__main__":
    workers._write = time.sleep
    site = Site(Path(sys.argv[1]))
    site.templates.globals["pages"] = {}
    list(workers.write_all(site, [600], 2))
"""


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_processes_end_with_the_one_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(STARTED, encoding="utf-8")
    with subprocess.Popen([sys.executable, script, tmp_path]) as parent:
        deadline = time.monotonic() + 60
        while not (begun := children(parent.pid)) or not all(map(_imported, begun)):
            assert time.monotonic() < deadline and parent.poll() is None
            time.sleep(0.1)
        parent.kill()
    while not all(map(stopped, begun)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _imported(pid: int) -> bool:
    """Whether a process is a writer already, which has a thread that watches; helpers of Python's own have none to end."""
    return (
        "resource_tracker" in Path(f"/proc/{pid}/cmdline").read_text()
        or len([*Path(f"/proc/{pid}/task").iterdir()]) > 1
    )
