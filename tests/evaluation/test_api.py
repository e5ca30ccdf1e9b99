"""`xkeb.evaluate`: a run by names."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_jobs import FT, TASK, make_config, run_jobs

import xkeb
from xkeb.evaluation.job import JobError
from xkeb.models.backbone import Backbone

pytest_plugins = ("small_jobs",)
pytestmark = pytest.mark.usefixtures("cache_of_this_module")


def test_a_run_by_name_gives_the_same_as_job_by_job(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    asked = make_config(tiny_folders, tmp_path / "a", ["ft"], method_args=FT)
    ((by_job,), _) = run_jobs(llama, asked)
    (by_name,) = xkeb.evaluate(
        tasks=TASK,
        model="hf",
        methods="ft",
        model_args={"path": str(tiny_folders["llama"])},
        method_args=FT,
        device="cpu",
        limit=4,
        output=tmp_path / "b",
    )
    assert by_name.scores == by_job.scores and by_name.settings == by_job.settings


def test_a_method_that_fails_costs_its_own_job_alone(
    tiny_folders: dict[str, Path], tmp_path: Path, failing: str
) -> None:
    with pytest.raises(JobError) as failed:
        xkeb.evaluate(
            tasks=TASK,
            model="hf",
            methods=[failing, "ft"],
            model_args={"path": str(tiny_folders["llama"])},
            method_args=FT,
            batch_size=2,
            device="cpu",
            limit=4,
            output=tmp_path,
        )
    assert [job.method for job, _ in failed.value.failed] == [failing]
    assert [result.method.name for result in failed.value.results] == ["ft"]
    assert (tmp_path / TASK / "llama" / "ft" / "result.json").is_file()
    assert not failed.value.wrong_request
