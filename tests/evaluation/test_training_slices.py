"""The slices by training facts, where their file comes, changes or goes between the runs that fill a folder."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from small_jobs import FT, Phases, lines, make_config, run_jobs

import xkeb
from xkeb.evaluation.config import RunConfig
from xkeb.leaderboard.verify.check import check_result
from xkeb.leaderboard.verify.source import Sources
from xkeb.models.backbone import Backbone
from xkeb.results.lines import CASES
from xkeb.results.result import Result

pytest_plugins = ("small_jobs",)
MINI = Path(__file__).parents[2] / "plugins" / "datasets" / "bizsre_mini" / "bizsre_mini_test.json"
TASK = "bizsre_en2zh"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a data set that has no training facts yet."""
    monkeypatch.setenv("XKEB_DATA_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "bizsre"
    folder.mkdir(parents=True)
    shutil.copy(MINI, folder / "bizsre_test.json")
    return folder


def teach(data: Path, answers: Sequence[str]) -> None:
    facts = [{"subject": "Bo", "src": "Where is Bo?", "rephrase": "Bo is where?", "alt": answer,
              "loc": "who is it", "loc_ans": "him"} for answer in answers]  # fmt: skip
    (data / "zsre_mend_train_10000.json").write_text(json.dumps(facts), encoding="utf-8")


def told(path: Path) -> list[str | None]:
    return [line["slices"].get("training") for line in lines(path)]


def run(backbone: Backbone, config: RunConfig, limit: int) -> tuple[Result, Phases]:
    (result,), phases = run_jobs(backbone, dataclasses.replace(config, limit=limit))
    return result, phases


def test_all_lines_tell_it_by_the_file_that_is_here_now(
    tiny_folders: dict[str, Path], llama: Backbone, data: Path, tmp_path: Path
) -> None:
    config = make_config(tiny_folders, tmp_path / "out", ["ft"], tasks=[TASK], method_args=FT, data_dir=data.parent)
    answers = [case.edit.target for case in list(xkeb.load_task(TASK, data_dir=data.parent))[:4]]
    folder = tmp_path / "out" / TASK / "llama" / "ft"
    without, _ = run(llama, config, 2)
    assert told(folder / CASES) == [None, None]
    assert not any(name.startswith("training") for name in without.slices)

    teach(data, answers[:1])
    first, phases = run(llama, config, 4)
    assert phases.counts["edit"] == 2
    assert told(folder / CASES) == ["yes", "no", "no", "no"]
    assert first.slices["training=yes"]["reliability"]["en"]["f1"].n == 1
    assert check_result(folder / "result.json", Sources(data.parent)).problems == ()

    teach(data, answers[1:])
    second, phases = run(llama, config, 4)
    assert phases.counts["edit"] == 0 and second.settings == first.settings == without.settings
    assert told(folder / CASES) == ["no", "yes", "yes", "yes"]
    assert second.slices["training=yes"]["reliability"]["en"]["f1"].n == 3
    assert check_result(folder / "result.json", Sources(data.parent)).problems == ()

    (data / "zsre_mend_train_10000.json").unlink()
    kept = (folder / CASES).read_bytes()
    assert run(llama, config, 4)[0].slices == second.slices
    assert (folder / CASES).read_bytes() == kept


def test_so_do_lines_of_earlier_edits_of_a_sequence(
    tiny_folders: dict[str, Path], llama: Backbone, data: Path, tmp_path: Path
) -> None:
    config = make_config(
        tiny_folders, tmp_path / "out", ["ft"], tasks=[TASK], method_args=FT, data_dir=data.parent,
        regime="sequential:2", evaluate="after_each",
    )  # fmt: skip
    run(llama, config, 2)
    folder = tmp_path / "out" / TASK / "llama" / "ft-sequential-2-after_each"
    answers = {line["case_id"]: line["edit"]["target"] for line in lines(folder / CASES)}
    teach(data, [answers["1"]])
    _, phases = run(llama, config, 2)
    assert phases.counts["edit"] == 0
    files = [folder / CASES, *folder.glob("retention-*.jsonl")]
    assert len(files) > 1
    for path in files:
        assert told(path) == ["yes" if line["case_id"] == "1" else "no" for line in lines(path)]
    assert check_result(folder / "result.json", Sources(data.parent)).problems == ()


def test_what_is_told_as_before_is_not_written_again(
    tiny_folders: dict[str, Path], llama: Backbone, data: Path, tmp_path: Path
) -> None:
    config = make_config(tiny_folders, tmp_path / "out", ["ft"], tasks=[TASK], method_args=FT, data_dir=data.parent)
    teach(data, ["Oslo"])
    run(llama, config, 2)
    path = tmp_path / "out" / TASK / "llama" / "ft" / CASES
    before = path.stat()
    teach(data, ["Bergen"])
    run(llama, config, 2)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
