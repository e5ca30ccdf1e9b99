"""``xkeb run --plan`` and the shipped run files: what a run needs, before anything is run."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml
from command_line import Xkeb

import xkeb_tasks.runs
from xkeb.evaluation.config import ModelChoice, RunConfig
from xkeb.evaluation.planning import plan_run
from xkeb.models.backbone import Backbone

pytest_plugins = ("command_line",)

PAPER = Path(xkeb_tasks.runs.__file__).parent / "paper.yaml"


def lines_of(out: str, *words: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines() if all(word in line for word in words)]


def test_a_plan_names_parameters_memory_and_time_and_runs_nothing(run: Xkeb, llama: Backbone, tmp_path: Path) -> None:
    done = run("--plan")
    assert done.status == 0, done.err
    (model,) = lines_of(done.out, "llama", "here")
    assert model[1] == f"{llama.n_parameters:,}"
    (job,) = lines_of(done.out, "llama", "ft")
    assert "GB" in job
    assert not list((tmp_path / "results").rglob("*.json*"))


def test_a_plan_says_what_it_leaves_out(run: Xkeb) -> None:
    plain = run("--plan")
    assert plain.status == 0, plain.err
    assert "Not estimated" not in plain.out
    more = run("--plan", protocol="teacher_forcing,generate", regime="sequential:1")
    assert more.status == 0, more.err
    said = " ".join(more.out.split())
    assert "Not estimated: where free answers end; each is taken to have half the tokens that it may have." in said
    assert "Not estimated: a sequence or batch of edits; the figures are of single edits." in said


def test_tasks_that_ask_in_more_languages_have_a_row_of_their_own(run: Xkeb, tmp_path: Path) -> None:
    """A case costs more there."""
    alone = "task: alone\nversion: 1\ndataset: bizsre_mini\nsource: en\ntargets: []\n"
    (tmp_path / "alone.yaml").write_text(alone, encoding="utf-8")
    done = run("--plan", include_path=str(tmp_path), tasks="bizsre_mini,alone")
    assert done.status == 0, done.err
    assert "Languages" in done.out
    rows = lines_of(done.out, "llama", "ft")
    assert [row[2:5] for row in rows] == [["2", "2", "2"], ["1", "1", "1"]]  # languages, tasks, cases
    assert "Languages" not in run("--plan", tasks="bizsre_mini").out


@pytest.mark.parametrize("there", [False, True], ids=["no folder", "a folder"])
def test_a_plan_writes_nothing(
    run: Xkeb, fresh_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Not even to see whether it could; what it worked out stands in the cache, and is what it says the next time."""
    output = tmp_path / "results"
    if there:
        (output / "kept").mkdir(parents=True)
    (fresh_cache / "plans").mkdir(parents=True)

    def written() -> dict[Path, int]:
        paths = [tmp_path, *(path for path in tmp_path.rglob("*") if fresh_cache not in (path, *path.parents))]
        return {path: path.stat().st_mtime_ns for path in paths}

    before = written()
    done = run("--plan", methods="ft,ike", method_args="ike.k=0")
    assert done.status == 0, done.err
    assert written() == before
    assert [path.name for path in fresh_cache.iterdir()] == ["plans"]
    kept = {path: path.stat().st_mtime_ns for path in (fresh_cache / "plans").iterdir()}
    assert len(kept) == 2
    monkeypatch.setattr("xkeb.estimation.estimator.Estimator.cost", lambda *_: pytest.fail("it is estimated again"))
    again = run("--plan", methods="ft,ike", method_args="ike.k=0")

    def memory(out: str) -> list[list[str]]:
        return [line[:6] for line in lines_of(out, "llama", "GB")]

    assert memory(again.out) == memory(done.out) != []
    assert {path: path.stat().st_mtime_ns for path in (fresh_cache / "plans").iterdir()} == kept


def test_processes_side_by_side_find_what_one_finds(
    run: Xkeb, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ["ft", "ft-m", "ft-l", "grace"]

    def planned(cores: int) -> dict[str, str]:
        monkeypatch.setattr("xkeb.cli.estimating.free_cores", lambda: cores)
        done = run("--plan", methods=",".join(methods))
        assert done.status == 0, done.err
        rows = lines_of(done.out, "llama", "GB")
        assert [row[1] for row in rows if row[1] in methods] == methods
        kept = {path.name: path.read_text(encoding="utf-8") for path in (fresh_cache / "plans").iterdir()}
        shutil.rmtree(fresh_cache / "plans")
        return kept

    alone = planned(1)
    assert len(alone) == len(methods)
    with monkeypatch.context() as patch:
        patch.setattr("xkeb.estimation.estimator.Estimator.cost", lambda *_: pytest.fail("estimated in this process"))
        assert planned(2) == alone


def test_what_cant_travel_is_estimated_here(run: Xkeb, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin's editor may hold what no other process can be given."""

    def stay(*_: object) -> None:
        raise TypeError("cannot pickle it")

    monkeypatch.setattr("xkeb.cli.estimating.free_cores", lambda: 2)
    monkeypatch.setattr("xkeb.evaluation.job.Job.__reduce_ex__", stay)
    done = run("--plan", methods="ft,ft-m,ft-l,grace")
    assert done.status == 0, done.err
    assert len(lines_of(done.out, "llama", "GB")) == 5  # the model's own row, and four


def test_what_is_missing_is_listed_and_is_no_error(
    xkeb_cli: Xkeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    done = xkeb_cli(
        "run",
        "--config",
        "paper",
        "--plan",
        "--methods",
        "ft,mend",
        "--data-dir",
        tmp_path,
        "--output",
        tmp_path / "out",
    )
    assert done.status == 0, done.err
    assert "lacks bizsre_test.json" in done.out and "xkeb data fetch bizsre" in done.out
    assert "lacks zsre_mend_train_10000.json" in done.out
    assert "hfl/chinese-llama-plus-lora-7b" in done.out
    assert "42.9 GB to be fetched" in done.out


def test_a_run_is_refused_where_a_model_cant_be_had(xkeb_cli: Xkeb, tmp_path: Path) -> None:
    """Before the other models are run for hours."""
    done = xkeb_cli(
        "run", "--tasks", "bizsre_mini_en2zh", "--model", "gemma3-270m,chinese-llama-plus-7b", "--methods", "ft",
        "--output", tmp_path,
    )  # fmt: skip
    assert done.status == 2 and "chinese-llama-plus-7b" in done.err and done.err.count("\n") == 1


def test_the_papers_run_file_has_its_48_jobs(data_dir: Path, tmp_path: Path) -> None:
    said = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    plan = plan_run(RunConfig([said["tasks"]], said["model"], data_dir=data_dir, output=tmp_path), "estimate")
    assert Counter(job.model for job in plan.jobs) == {
        "chinese-llama-plus-7b": 14,
        "chinese-llama-2-7b": 14,
        "baichuan-7b": 10,
        "baichuan2-7b": 10,
    }
    assert Counter(job.method for job in plan.jobs) == {
        "ft": 8, "ike": 8, "kn": 8, "rome": 8, "memit": 8, "serac": 4, "mend": 4,
    }  # fmt: skip
    assert len(plan.absent) == 1  # the LoRA's base


def test_an_option_can_be_given_to_one_model() -> None:
    request = RunConfig(["t"], ["one", "one-b"], model_args={"one.path": "a", "one-b.path": "b", "size": "any"})
    assert request.options_of(ModelChoice.parse("one")) == {"path": "a", "size": "any"}
    assert request.options_of(ModelChoice.parse("one-b")) == {"path": "b", "size": "any"}


def test_an_unknown_run_file_is_named(xkeb_cli: Xkeb) -> None:
    done = xkeb_cli("run", "--config", "papr", "--plan")
    assert done.status == 2 and "did you mean 'paper'?" in done.err
