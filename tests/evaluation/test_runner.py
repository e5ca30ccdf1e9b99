"""The way of the data: from the model's own answers to a case's line and a job's result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_jobs import FT, TASK, lines, make_config, run_jobs

import xkeb
from xkeb.editing.editor import prepare
from xkeb.evaluation import probing
from xkeb.evaluation.planning import plan_run
from xkeb.models.backbone import Backbone
from xkeb.models.prediction import predict
from xkeb.registry.manager import get_plugins
from xkeb.types import DEFAULT_METRICS, Query
from xkeb_plugins.methods.memit import Memit

pytest_plugins = ("small_jobs",)
pytestmark = pytest.mark.usefixtures("cache_of_this_module")


def test_the_journal_holds_the_models_own_answers_before_and_after(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    """One case by hand: the edit made and applied here, every probe asked here."""
    asked = make_config(tiny_folders, tmp_path, ["ft"], limit=1, method_args=FT)
    run_jobs(llama, asked)
    (line,) = lines(tmp_path / TASK / "llama" / "ft" / "cases.jsonl")
    case = next(iter(xkeb.load_task(TASK)))
    asking = [Query(probe.prompt, probe.reference, probe.language) for probe in case.probes]
    before = predict(llama, asking)
    (change,) = xkeb.load_editor("ft", lr=0.05, steps=3).edit(llama, [case.edit])
    with change.applied(llama):
        after = predict(llama, asking)
    assert [b.text for b in before] != [a.text for a in after]
    assert line["case_id"] == case.id and len(line["probes"]) == 7
    for probe, written, old, new in zip(case.probes, line["probes"], before, after, strict=True):
        assert (written["property"], written["language"]) == (probe.property, probe.language)
        assert (written["prompt"], written["reference"]) == (probe.prompt, probe.reference)
        assert (written["before"], written["after"]) == (old.text, new.text)
        expected = old if probe.property == "locality" else llama.encode_reference(probe.reference)
        language = get_plugins().languages.get(probe.language)
        assert written["scores"] == {
            name: get_plugins().metrics.get(name)(new, expected, language) for name in DEFAULT_METRICS
        }


def test_a_result_is_the_mean_of_its_cases(tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path) -> None:
    asked = make_config(tiny_folders, tmp_path, ["ft"], method_args=FT)
    ((result,), _) = run_jobs(llama, asked)
    folder = tmp_path / TASK / "llama" / "ft"
    written = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    entries = lines(folder / "cases.jsonl")
    assert written["case_ids"] == [entry["case_id"] for entry in entries] == ["0", "1", "2", "3"]
    cells = {(name, language) for name, by_language in written["scores"].items() for language in by_language}
    assert len(cells) == 7 and ("reliability", "zh") not in cells
    for name, language in cells:
        for metric in DEFAULT_METRICS:
            values = [
                100 * probe["scores"][metric]
                for entry in entries
                for probe in entry["probes"]
                if (probe["property"], probe["language"]) == (name, language)
            ]
            score = written["scores"][name][language][metric]
            assert score["mean"] == pytest.approx(sum(values) / 4) and score["n"] == 4
            assert result.scores[name][language][metric].mean == pytest.approx(score["mean"])
            assert score["ci95"][0] <= score["mean"] <= score["ci95"][1]
    assert written["task"]["dataset"]["n_cases"] == 4 and written["skipped"] == []
    assert written["model"]["sha256"] == llama.sha256 and written["model"]["dtype"] == "float32"
    assert written["method"]["name"] == "ft" and written["method"]["params"]["lr"] == 0.05
    assert written["method"]["params"]["layer"] == 4  # the one that was used, though none was asked for


def test_a_jobs_editor_keeps_nothing_of_what_was_learned(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    """A run of many jobs would otherwise hold what all of them learned: gigabytes each, for MEMIT on a 7B model."""
    config = make_config(tiny_folders, tmp_path, ["memit"], limit=1, method_args={"memit.steps": 1})
    (job,) = plan_run(config).jobs
    assert isinstance(job.editor, Memit)
    run_jobs(llama, config, [job])
    assert job.editor._questions is None and not job.editor._statistics
    learned = prepare(job.editor, llama, job.training())
    assert isinstance(learned, Memit) and learned._questions and learned._statistics  # there is something to keep


def test_answers_and_scores_do_not_depend_on_the_batch_size(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    found = []
    for size in (1, 3, None):
        asked = make_config(
            tiny_folders, tmp_path / str(size), ["ft", "rome"], method_args={**FT, "rome.steps": 4}, batch_size=size
        )
        run_jobs(llama, asked)
        found.append(
            [
                [
                    (entry["case_id"], entry["probes"])
                    for entry in lines(tmp_path / str(size) / TASK / "llama" / m / "cases.jsonl")
                ]
                for m in ("ft", "rome")
            ]
        )
    assert found[0] == found[1] == found[2]


def test_batched_and_alone_give_the_same_journal(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ["ft", "ike", "ike-published", "rome"]
    options = {**FT, "ike.k": 0, "ike-published.k": 0, "rome.steps": 4}
    found = []
    for name in ("batched", "alone"):
        if name == "alone":
            monkeypatch.setattr(probing, "batched", lambda backbone, changes: None)
        asked = make_config(tiny_folders, tmp_path / name, methods, method_args=options)
        run_jobs(llama, asked)
        found.append(
            [
                [
                    (entry["case_id"], entry["probes"])
                    for entry in lines(tmp_path / name / TASK / "llama" / m / "cases.jsonl")
                ]
                for m in methods
            ]
        )
    assert found[0] == found[1]
