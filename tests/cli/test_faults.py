"""``benchmarks/faults.py`` in short: processes are killed, disks fill up, files are damaged, and nothing is lost or made up."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_jobs import make_config, run_jobs

from xkeb.models.backbone import Backbone

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KINDS = ("kills", "builds", "cuts", "flips", "data", "output", "cache", "read-only")
JOURNAL = "bizsre_mini_en2zh/llama/ft/cases.jsonl"


@pytest.mark.timeout(900)
def test_a_few_faults_of_each_kind() -> None:
    only = [word for kind in KINDS for word in ("--only", kind)]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "faults.py"), "--short", *only], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    assert len(rows) >= len(KINDS) - 3  # only root may mount the disks that are full
    assert all(int(row[1]) > 0 and row[2:6] == ["0"] * 4 for row in rows), done.stdout


@pytest.fixture
def campaign(tmp_path: Path, llama: Backbone, tiny_folders: dict[str, Path]) -> tuple[Any, Any]:
    """A run without faults, and the module that judges others by it."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from fault_kinds import campaign as module
    finally:
        sys.path.remove(str(BENCHMARKS))
    run_jobs(llama, make_config(tiny_folders, tmp_path / "rehearsed", ["ft"], limit=3))
    made = module.Campaign(tmp_path, [], ["ft"], random.Random(0), 60, 1)
    made.expected = {
        name: [module.said(line) for line in some] for name, some in module.journals(tmp_path / "rehearsed").items()
    }
    made.results = module.results(tmp_path / "rehearsed")
    return module, made


def test_what_is_lost_repeated_or_wrong_is_counted(campaign: tuple[Any, Any], tmp_path: Path) -> None:
    """A check of the check."""
    module, made = campaign
    right = (tmp_path / "rehearsed" / JOURNAL).read_text(encoding="utf-8").splitlines(keepends=True)
    before = module.journals(tmp_path / "rehearsed")

    def judged(lines: list[str]) -> tuple[int, int, int]:
        output = made.new("output")
        shutil.copytree(tmp_path / "rehearsed", output)
        (output / JOURNAL).write_text("".join(lines), encoding="utf-8")
        row = module.Row("a fault")
        made.judge(output, row, before)
        return row.lost, row.repeated, row.wrong

    assert judged(right) == (0, 0, 0)
    assert judged(right[:2]) == (2, 0, 0)  # gone from the disk, and missing in the end
    assert judged([*right, right[1]]) == (0, 1, 0)
    assert judged([*right[:2], right[2].replace('"after"', '"after": "x", "was"', 1)]) == (1, 0, 1)
    output = made.new("output")
    shutil.copytree(tmp_path / "rehearsed", output)
    (output / JOURNAL).with_name("result.json").unlink()
    row = module.Row("a fault")
    made.judge(output, row, before)
    assert row.wrong == 1 and not row.clean


def test_an_end_without_a_sentence_is_counted(campaign: tuple[Any, Any]) -> None:
    module, _ = campaign
    for ended, silent in [
        (module.Ended(2, "xkeb: /disk: No space left on device."), 0),
        (module.Ended(0, "xkeb: all is well"), 1),
        (module.Ended(1, "Traceback\nxkeb: oh"), 1),
        (module.Ended(-9, ""), 1),
    ]:
        row = module.Row("a fault")
        module.told_in_a_sentence(ended, row)
        assert row.silent == silent
