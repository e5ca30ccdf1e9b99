"""What can't be run, by any method or by one, is counted with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_jobs import lines, make_config, run_jobs

from xkeb.models.backbone import Backbone

pytest_plugins = ("small_jobs",)
pytestmark = pytest.mark.usefixtures("cache_of_this_module")


def side(subject: str, prompt: str, answer: str) -> dict[str, Any]:
    return {
        "subject": subject,
        "src": prompt,
        "rephrase": f"Again: {prompt}",
        "alt": answer,
        "loc": "nq question: what is red",
        "loc_ans": "a colour",
        "portability": {"New Question": f"And {prompt}", "New Answer": f"not {answer}"},
    }


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    """Four records: a good one, one without its subject in the prompt, one without a target, another good one."""
    sides = [
        side("Ada", "Where does Ada live?", "Rome"),
        side("Bo", "Where does he live?", "Oslo"),
        side("Cy", "Where does Cy live?", ""),
        side("Di", "Where does Di live?", "Lima"),
    ]
    folder = tmp_path / "data" / "bizsre"
    folder.mkdir(parents=True)
    (folder / "bizsre_test.json").write_text(json.dumps([{"en": one, "zh": one} for one in sides]), encoding="utf-8")
    return tmp_path / "data"


def test_a_case_that_a_method_refuses_is_journaled_and_counted(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, dirty: Path
) -> None:
    asked = make_config(
        tiny_folders, tmp_path, ["rome", "ft"], tasks=["bizsre_en2zh"], data_dir=dirty, method_args={"rome.steps": 2}
    )
    (rome, ft), phases = run_jobs(llama, asked)
    entries = {entry["case_id"]: entry for entry in lines(tmp_path / "bizsre_en2zh" / "llama" / "rome" / "cases.jsonl")}
    assert {case_id: entry["status"] for case_id, entry in entries.items()} == {"0": "ok", "1": "skipped", "3": "ok"}
    assert "'Bo'" in entries["1"]["reason"] and entries["1"]["probes"] == []
    assert entries["1"]["edit"]["prompt"] == "Where does he live?"
    written = json.loads((tmp_path / "bizsre_en2zh" / "llama" / "rome" / "result.json").read_text(encoding="utf-8"))
    skipped = {skip["case_id"]: skip["reason"] for skip in written["skipped"]}
    assert set(skipped) == {"1", "2"}
    assert skipped["1"] == entries["1"]["reason"] and "alt" in skipped["2"]
    assert written["case_ids"] == ["0", "3"] == list(rome.case_ids)
    assert {score["n"] for p in written["scores"].values() for m in p.values() for score in m.values()} == {2}
    # A method that needs no subject runs it.
    assert list(ft.case_ids) == ["0", "1", "3"]
    assert [skip.case_id for skip in ft.skipped] == ["2"]
    assert phases.counts["edit"] == 6


def test_a_job_all_of_whose_cases_are_refused_has_a_result(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, dirty: Path
) -> None:
    asked = make_config(tiny_folders, tmp_path, ["rome"], tasks=["bizsre_en2zh"], data_dir=dirty, cases=["1"])
    ((result,), _) = run_jobs(llama, asked)
    assert result.scores == {} and [skip.case_id for skip in result.skipped] == ["2", "1"]
