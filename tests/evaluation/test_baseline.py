"""The answers before any edit: made once for a model and a task, shared by every method."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_jobs import FT, TASK, lines, make_config, run_jobs

import xkeb
from xkeb.evaluation.planning import plan_run
from xkeb.models.backbone import Backbone

pytest_plugins = ("small_jobs",)
pytestmark = pytest.mark.usefixtures("cache_of_this_module")


def test_answers_before_are_made_once_for_all_methods(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    asked = make_config(tiny_folders, tmp_path, ["ft", "ike", "rome"], method_args={**FT, "ike.k": 0, "rome.steps": 2})
    jobs = plan_run(asked).jobs
    assert [job.method for job in jobs] == ["ft", "ike", "rome"]
    _, phases = run_jobs(llama, asked, jobs[:1])
    assert phases.counts["before"] == 4
    shared = tmp_path / TASK / "llama" / "before.jsonl"
    content, written = shared.read_bytes(), shared.stat().st_mtime_ns
    assert len(lines(shared)) == 4
    _, phases = run_jobs(llama, asked, jobs[1:])
    assert "before" not in phases.counts
    assert (shared.read_bytes(), shared.stat().st_mtime_ns) == (content, written)
    each = [lines(tmp_path / TASK / "llama" / method / "cases.jsonl") for method in ("ft", "ike", "rome")]
    told = [[[probe["before"] for probe in entry["probes"]] for entry in entries] for entries in each]
    assert told[0] == told[1] == told[2]


def test_another_model_of_the_same_name_does_not_share_them(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    asked = make_config(tiny_folders, tmp_path, ["ike"], method_args={"ike.k": 0})
    run_jobs(llama, asked)
    shared = tmp_path / TASK / "llama" / "before.jsonl"
    first = [line["answers"] for line in lines(shared)]
    other = xkeb.load_backbone("hf", path=str(tiny_folders["gemma3"]), device="cpu")
    again = make_config(tiny_folders, tmp_path, ["ike"], method_args={"ike.k": 0}, overwrite=True)
    run_jobs(other, again)
    assert [line["answers"] for line in lines(shared)] != first
