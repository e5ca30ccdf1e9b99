"""The file that a tuning writes, and how a tuning goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tuning_data import Jobs, records, replace

import xkeb
from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.tuning import PointRecord, Tuning, tune
from xkeb.evaluation.tuning.facts import HELD_OUT
from xkeb.models.backbone import Backbone
from xkeb.tasks.task import load_task

pytest_plugins = ("tuning_data",)
pytestmark = pytest.mark.usefixtures("cache_of_this_module")


def contents(path: Path) -> Any:
    """Of a settings file, but for what a clock says."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    for row in values["table"]:
        del row["seconds"]
    del values["date"]
    return values


def test_the_file_says_where_its_settings_come_from(config: RunConfig, llama: Backbone, tmp_path: Path) -> None:
    fixed = replace(config, method_args={"ft.steps": "3"}, seed=7, command="xkeb tune ..", metrics=["em"])
    tuning = tune(fixed, {"layer": [1, 2]}, tmp_path / "out.yaml")
    found = contents(tmp_path / "out.yaml")
    assert tuning.chosen is not None
    assert (found["method"], found["settings"]) == ("ft", {"steps": 3, **tuning.points[tuning.chosen].settings})
    assert (found["model"]["name"], found["model"]["sha256"]) == ("llama", llama.sha256)
    assert (found["metric"], found["seed"], found["command"]) == ("em", 7, "xkeb tune ..")
    assert found["formula"].startswith("score = mean of reliability, generality and locality")
    assert found["environment"]["xkeb"] == xkeb.__version__
    (facts,) = found["facts"]
    ids = [str(i) for i in range(len(records()) - 4, len(records()))]
    assert (facts["source"], facts["ids"], facts["count"]) == (HELD_OUT, ids, 4)
    assert facts["file_sha256"] == load_task("bizsre_en2zh", data_dir=config.data_dir).training.sha256
    assert [row["settings"] for row in found["table"]] == [{"layer": 1}, {"layer": 2}]


def test_a_tuning_that_was_killed_goes_on_to_the_same_file(config: RunConfig, tmp_path: Path) -> None:
    grid = {"layer": [1, 2, 3]}
    tune(config, grid, tmp_path / "whole.yaml")

    def stop(point: PointRecord, number: int, total: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    output = tmp_path / "again.yaml"
    with pytest.raises(KeyboardInterrupt):
        tune(config, grid, output, report=stop)
    assert not output.exists()
    journal = tmp_path / "again.yaml.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"key": "cut sh')  # as the process may have left it
    jobs = Jobs()
    tune(config, grid, output, jobs)
    assert [options["layer"] for options in jobs.started] == [3]
    assert contents(output) == contents(tmp_path / "whole.yaml")
    again = Jobs()
    tune(config, grid, output, again)
    assert again.started == []
    assert contents(output) == contents(tmp_path / "whole.yaml")


@pytest.mark.parametrize(
    "changes",
    [{"limit": 3}, {"metrics": ["em"]}, {"method_args": {"ft.steps": 2}}, {"seed": 1, "method_args": {"ft.lr": 0.1}}],
    ids=str,
)
def test_points_of_other_settings_are_tried_again(config: RunConfig, tmp_path: Path, changes: dict[str, Any]) -> None:
    tune(config, {"layer": [2]}, tmp_path / "out.yaml")
    jobs = Jobs()
    tune(replace(config, **changes), {"layer": [2]}, tmp_path / "out.yaml", jobs)
    assert len(jobs.started) == 1


def test_a_grid_that_grows_keeps_what_is_done_and_fresh_starts_over(config: RunConfig, tmp_path: Path) -> None:
    tune(config, {"layer": [2]}, tmp_path / "out.yaml")
    jobs = Jobs()
    usual = xkeb.load_editor("ft").configure(xkeb.load_backbone("hf", path=config.model_args["path"]).spec)
    steps = usual.steps  # type: ignore[attr-defined]
    tuning = tune(config, {"layer": [1, 2], "steps": [steps]}, tmp_path / "out.yaml", jobs)
    assert [options["layer"] for options in jobs.started] == [1]
    assert [point.settings for point in tuning.points] == [{"layer": 1, "steps": steps}, {"layer": 2, "steps": steps}]
    fresh = Jobs()
    tune(replace(config, overwrite=True), {"layer": [2]}, tmp_path / "out.yaml", fresh)
    assert len(fresh.started) == 1


def test_files_of_something_else_are_left_as_they_are(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text("mine: true\n")
    (tmp_path / "out.yaml.jsonl").write_text('{"mine": true}\n')
    for name, message in (("notes.yaml", "is no settings file"), ("out.yaml", r"out\.yaml\.jsonl:1 is no point")):
        with pytest.raises(RequestError, match=message):
            tune(config, {"layer": [2]}, tmp_path / name)
    assert (tmp_path / "notes.yaml").read_text() == "mine: true\n"
    assert (tmp_path / "out.yaml.jsonl").read_text() == '{"mine": true}\n'


def test_two_processes_do_not_write_one_file(config: RunConfig, tmp_path: Path) -> None:
    messages = []

    def another(point: PointRecord, number: int, total: int) -> None:
        with pytest.raises(RequestError, match="Another process is writing") as refused:
            tune(config, {"layer": [2]}, tmp_path / "out.yaml")
        messages.append(refused)

    tuning: Tuning = tune(config, {"layer": [1]}, tmp_path / "out.yaml", report=another)
    assert tuning.chosen == 0 and len(messages) == 1
