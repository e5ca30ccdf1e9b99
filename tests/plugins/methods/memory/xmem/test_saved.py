"""xmem's changes on disk, and what is kept of the training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_serac import Heard
from small_xmem import changes_of, fitted

import xkeb
from xkeb.editing.changes import batched, load_change
from xkeb.errors import RequestError
from xkeb.evaluation.probing import case_queries, predict_after, predict_edited
from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb.utils.progress import reporting_to
from xkeb_plugins.methods.memory.change import MemoryChange


@pytest.mark.parametrize("scope", ["gate", "all"])
def test_what_is_saved_is_loaded_without_the_cache(
    llama: Backbone,
    training: list[Case],
    cases: list[Case],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scope: str,
) -> None:
    changes = changes_of(fitted(llama, training, scope=scope), llama, cases)
    answers = predict_after(llama, changes, cases)
    for i, change in enumerate(changes):
        change.save(tmp_path / str(i))
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "empty"))
    loaded: list[Any] = [load_change(tmp_path / str(i)) for i in range(len(changes))]
    assert all(isinstance(change, MemoryChange) for change in loaded)
    assert [change.facts for change in loaded] == [change.facts for change in changes]
    assert batched(llama, loaded) is not None  # equal gates, though each file has its own
    assert predict_after(llama, loaded, cases) == answers
    assert not (tmp_path / "empty").exists()


def test_a_saved_memory_of_many_edits_is_loaded(
    llama: Backbone, editor: Any, training: list[Case], cases: list[Case], tmp_path: Path
) -> None:
    memory = MemoryChange.joined(changes_of(editor, llama, [*cases, *training[:20]]))
    asked = [query for case in cases for query in case_queries(case, 0)]
    memory.save(tmp_path)
    loaded = load_change(tmp_path)
    assert predict_edited(llama, loaded, asked) == predict_edited(llama, memory, asked)


def test_a_memory_is_of_one_model(
    llama: Backbone, tiny_folders: dict[str, Path], editor: Any, cases: list[Case]
) -> None:
    (change,) = changes_of(editor, llama, cases[:1])
    other = xkeb.load_backbone("hf", path=str(tiny_folders["gemma3"]), device="cpu")
    with pytest.raises(RequestError, match="made for another model than"):
        predict_edited(other, change, case_queries(cases[0], 0))


# What is kept of the training -------------------------------------------------------------------------------------------


def kept(cache: Path) -> list[Path]:
    return sorted((cache / "xmem").glob("*.safetensors"))


def test_it_is_learnt_once(llama: Backbone, training: list[Case], fresh_cache: Path) -> None:
    with reporting_to((first := Heard()).progress):
        editor = fitted(llama, training)
    assert [step for step in first.steps if step[0] == "gate"] == [("gate", i) for i in range(1, 41)]
    assert {what for what, _ in first.steps} == {"questions read", "gate"}
    with reporting_to((again := Heard()).progress):
        other = fitted(llama, training)
    assert again.steps == [] and other._gate.sha256 == editor._gate.sha256
    (path,) = kept(fresh_cache)
    assert torch.equal(load_file(path)["map"], editor._gate.map)


@pytest.mark.parametrize(
    ("other", "learnt"),
    [
        ({"demonstrations": 1, "nearest": "question", "least": 0.5, "frame": "zh"}, set()),
        ({"threshold": 0.3, "others": 0.1}, set()),
        ({"scope": "all"}, set()),
        ({"temperature": 0.2}, {"gate"}),
        ({"seed": 1}, {"gate"}),
        ({"width": 8}, {"gate"}),
        ({"steps": 20}, {"gate"}),
        ({"layer": 1}, {"gate", "questions read"}),
        ({"facts": 30}, {"gate", "questions read"}),
    ],
)
def test_what_was_learnt_is_used_where_nothing_it_depends_on_is_different(
    llama: Backbone, training: list[Case], other: dict[str, Any], learnt: set[str]
) -> None:
    fitted(llama, training)
    with reporting_to((heard := Heard()).progress):
        fitted(llama, training, **other)
    assert {what for what, _ in heard.steps} == learnt
    if learnt:
        assert fitted(llama, training, **other)._gate.sha256 != fitted(llama, training)._gate.sha256


def test_other_facts_and_other_weights_get_a_gate_of_their_own(
    llama: Backbone, tiny_folders: dict[str, Path], training: list[Case]
) -> None:
    first = fitted(llama, training)._gate
    fewer = [dataclasses.replace(training[0], probes=()), *training[1:]]
    assert fitted(llama, fewer)._gate.sha256 != first.sha256
    half = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu", dtype="bfloat16")
    assert fitted(half, training)._gate.sha256 != first.sha256


def test_a_training_that_was_cut_short_goes_on_as_if_it_had_not(
    llama: Backbone, training: list[Case], fresh_cache: Path
) -> None:
    fitted(llama, training)
    (path,) = kept(fresh_cache)
    expected = path.read_bytes()
    path.unlink()
    with reporting_to(Heard(("gate", 30)).progress), pytest.raises(KeyboardInterrupt):
        fitted(llama, training)
    with reporting_to((rest := Heard()).progress):
        fitted(llama, training)
    assert rest.steps[0] == ("gate", 21)  # after the checkpoint of step 20
    assert path.read_bytes() == expected
