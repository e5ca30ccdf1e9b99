"""SERAC's options, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from small_serac import fitted

import xkeb
from xkeb.editing.editor import options_of
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.serac.editor import USUAL


def test_without_fit_it_is_refused(llama: Backbone, cases: list[Case], options: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=r"fit\(\)"):
        xkeb.load_editor("serac", **options).edit(llama, [cases[0].edit])


def test_an_unknown_language_is_refused_at_once(llama: Backbone, editor: Any) -> None:
    with pytest.raises(RequestError, match="no-such-language"):
        editor.edit(llama, [Edit("Who?", "Ada", "no-such-language")])


def test_networks_that_are_not_there_are_refused_with_some_that_are(
    llama: Backbone, training: list[Case], options: dict[str, Any]
) -> None:
    """The tests run without a hub."""
    for given in ({}, {"classifier": "no/such/folder"}, {"classifier": "no-such/encoder"}):
        with pytest.raises(RequestError, match=r"^The scope classifier .* all-MiniLM-L6-v2") as refused:
            fitted(llama, training, given)
        assert "\n" not in str(refused.value)
    for model in ("JackFram/llama-160m", "no/such/folder"):
        with pytest.raises(RequestError, match=r"^The counterfactual model .* gemma3-270m or smollm2-135m") as refused:
            fitted(llama, training, {**options, "counterfactual": model})
        assert "\n" not in str(refused.value)


def test_the_edited_model_is_its_own_counterfactual_model_only_where_that_is_asked_for(
    llama: Backbone,
    training: list[Case],
    options: dict[str, Any],
    tiny_folders: Mapping[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = {name: value for name, value in options.items() if name != "counterfactual"}
    monkeypatch.setitem(USUAL, "counterfactual", str(tiny_folders["llama"]))
    with pytest.raises(RequestError, match=r"which is the edited model itself: name another one, as in .*=gemma3-270m"):
        fitted(llama, training, usual)
    fitted(llama, training, {**usual, "counterfactual": str(tiny_folders["llama"])})
    monkeypatch.setitem(USUAL, "counterfactual", str(tiny_folders["gemma3"]))
    fitted(llama, training, usual)


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0}, {"threshold": 1.5}, {"batch_size": 0}, {"accumulate": 0}, {"validation": 0}]
)
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(wrong))):
        xkeb.load_editor("serac", **wrong)


def test_defaults_are_the_released_settings_unless_tuned(llama: Backbone) -> None:
    found = options_of(xkeb.load_editor("serac").configure(llama.spec))
    assert found == {
        "classifier": "distilbert-base-cased",
        "counterfactual": "JackFram/llama-160m",
        "threshold": 0.5,
        "cos": False,
        "square": True,
        "bound_embeds": False,
        "lr": 1e-5,
        "classifier_lr": 1e-5,
        "steps": 10_000,
        "classifier_steps": 10_000,
        "batch_size": 10,
        "accumulate": 10,
        "validate_every": 100,
        "patience": 3000,
        "grad_clip": 100.0,
        "validation": 500,
        "freeze_embeddings": False,
        "seed": 0,
    }
    given = options_of(xkeb.load_editor("serac", lr=1e-2, classifier_steps=3).configure(llama.spec))
    assert (given["lr"], given["classifier_lr"], given["steps"], given["classifier_steps"]) == (1e-2, 1e-2, 10_000, 3)
    assert xkeb.load_editor("serac").requires == {"generality", "locality"}
