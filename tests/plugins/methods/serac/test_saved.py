"""SERAC's changes on disk: the facts, and which trained networks they need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_serac import artifacts, fitted
from tiny_models import make_bert

from xkeb.editing.changes import load_change
from xkeb.editing.serialization import save_change
from xkeb.errors import RequestError
from xkeb.evaluation.probing import case_queries, predict_edited
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit, Prediction
from xkeb_plugins.methods.serac.change import MemoryChange


@pytest.fixture
def saved(
    llama: Backbone, training: list[Case], cases: list[Case], options: dict[str, Any], fresh_cache: Path, tmp_path: Path
) -> tuple[Path, list[Prediction]]:
    """A saved change, and what it answers."""
    (change,) = fitted(llama, training, options).edit(llama, [cases[0].edit])
    change.save(tmp_path / "change")
    return tmp_path / "change", predict_edited(llama, change, case_queries(cases[0], 0))


def test_what_is_saved_is_loaded(llama: Backbone, cases: list[Case], saved: tuple[Path, list[Prediction]]) -> None:
    folder, answers = saved
    loaded: Any = load_change(folder)
    assert isinstance(loaded, MemoryChange)
    edit = cases[0].edit
    assert loaded.facts == (Edit(edit.prompt, edit.target, edit.language, edit.subject),)
    assert predict_edited(llama, loaded, case_queries(cases[0], 0)) == answers
    with safe_open(folder / "change.safetensors", "pt") as file:
        metadata = file.metadata()
        assert metadata["kind"] == "method:serac"
        assert list(file.keys()) == []  # the networks stay in the cache
    again: Any = load_change(folder)
    assert again.router is loaded.router
    loaded.save(folder.parent / "again")
    with safe_open(folder.parent / "again" / "change.safetensors", "pt") as file:
        assert json.loads(file.metadata()["data"]) == json.loads(metadata["data"])


@pytest.mark.parametrize("kind", ["serac-scope", "serac-counterfactual"])
def test_a_saved_change_wants_its_own_networks(
    saved: tuple[Path, list[Prediction]], fresh_cache: Path, kind: str
) -> None:
    path = artifacts(fresh_cache)[kind]
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file({name: value + 1 for name, value in load_file(path).items()}, path, metadata)
    with pytest.raises(RequestError, match=r"is another (scope classifier|counterfactual model)"):
        load_change(saved[0])
    path.unlink()
    with pytest.raises(RequestError, match="not in the cache"):
        load_change(saved[0])


def test_a_saved_change_wants_the_networks_that_training_began_with(
    llama: Backbone, training: list[Case], cases: list[Case], options: dict[str, Any], fresh_cache: Path, tmp_path: Path
) -> None:
    folder = make_bert(tmp_path / "bert", seed=3)
    (change,) = fitted(llama, training, {**options, "classifier": str(folder)}).edit(llama, [cases[0].edit])
    change.save(tmp_path / "change")
    other = load_file(folder / "model.safetensors")
    save_file({name: value + 1 for name, value in other.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RequestError, match="another scope classifier than the one that is loaded"):
        load_change(tmp_path / "change")


def test_a_change_of_an_unknown_method_is_refused(tmp_path: Path) -> None:
    for kind, match in (
        ("method:no-such", "no-such"),
        ("method:rome", "Rome saves no changes of its own kind"),
        ("no-such", "no change of a known kind"),
    ):
        save_change(tmp_path, kind, {}, {})
        with pytest.raises(RequestError, match=match):
            load_change(tmp_path)
