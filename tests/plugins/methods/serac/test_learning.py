"""SERAC's trainings: what they reach, what is kept of them, and when they are done again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_serac import Heard, artifacts, fitted, log_of
from tiny_models import make_bert
from transformers import AutoModelForCausalLM

import xkeb
from xkeb.editing.training import TrainingError
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Query
from xkeb.utils.progress import reporting_to


def test_training_lowers_the_loss_and_tells_scope(
    llama: Backbone, training: list[Case], thorough: dict[str, Any], fresh_cache: Path
) -> None:
    editor = fitted(llama, training, thorough)
    for path in artifacts(fresh_cache).values():
        first, *rest = log_of(path)
        assert first["step"] == 0
        assert min(line["loss"] for line in rest) < 0.9 * first["loss"]
    learnt = training[:20]
    memories = [change.facts for change in editor.edit(llama, [case.edit for case in learnt])]

    def routed(prompts: Sequence[str]) -> float:
        routes = editor._router.delegates(memories, [Query(prompt, "x", "en") for prompt in prompts])
        return sum(route is not None for route in routes) / len(routes)

    assert routed([case.edit.prompt for case in learnt]) == 1
    assert routed([case.probes[0].prompt for case in learnt]) > 0.8
    assert routed([case.probes[1].prompt for case in learnt]) < 0.2


def test_only_what_is_trained_is_kept(
    llama: Backbone, training: list[Case], options: dict[str, Any], fresh_cache: Path
) -> None:
    pretrained = AutoModelForCausalLM.from_pretrained(options["counterfactual"])
    names = {name.replace(".", "/") for name, _ in pretrained.named_parameters()}
    editor = fitted(llama, training, {**options, "freeze_embeddings": True})
    kept = load_file(artifacts(fresh_cache)["serac-counterfactual"])
    assert names - set(kept) == {"model/embed_tokens/weight", "lm_head/weight"}
    trained = dict(editor._router.counterfactual.model.named_parameters())
    for name, before in pretrained.named_parameters():
        same = torch.equal(trained[name], before)
        assert same == (name.replace(".", "/") not in kept), name
    words = "embeddings/word_embeddings/weight"
    assert words not in load_file(artifacts(fresh_cache)["serac-scope"])
    for path in fresh_cache.glob("serac-*/*.safetensors"):
        path.unlink()
    fitted(llama, training, options)
    assert set(load_file(artifacts(fresh_cache)["serac-counterfactual"])) == names
    assert words in load_file(artifacts(fresh_cache)["serac-scope"])


def test_it_is_learnt_once(llama: Backbone, training: list[Case], options: dict[str, Any], fresh_cache: Path) -> None:
    with reporting_to((first := Heard()).progress):
        fitted(llama, training, options)
    assert first.steps == [(name, i) for name in ("scope classifier", "counterfactual model") for i in range(1, 7)]
    with reporting_to((again := Heard()).progress):
        editor = fitted(llama, training, options)
    assert again.steps == []
    kept = load_file(artifacts(fresh_cache)["serac-counterfactual"])
    model = editor._router.counterfactual.model
    assert all(torch.equal(model.get_parameter(name.replace("/", ".")), value) for name, value in kept.items())
    kept = load_file(artifacts(fresh_cache)["serac-scope"])
    model = editor._router.encoder.model
    assert all(torch.equal(model.get_parameter(name.replace("/", ".")), value) for name, value in kept.items())


def test_the_edited_model_does_not_matter(
    llama: Backbone,
    tiny_folders: Mapping[str, Path],
    training: list[Case],
    options: dict[str, Any],
    fresh_cache: Path,
) -> None:
    fitted(llama, training, options)
    gpt2 = xkeb.load_backbone("hf", path=str(tiny_folders["gpt2"]), device="cpu", dtype="bfloat16")
    with reporting_to((again := Heard()).progress):
        fitted(gpt2, training, options)
    assert again.steps == []


@pytest.mark.parametrize(
    "other", ["lr", "seed", "facts", "classifier", "counterfactual", "square", "freeze_embeddings", "batch_size"]
)
def test_what_was_learnt_otherwise_is_never_used(
    llama: Backbone,
    training: list[Case],
    options: dict[str, Any],
    tiny_folders: Mapping[str, Path],
    tmp_path: Path,
    other: str,
) -> None:
    fitted(llama, training, options)
    others: dict[str, dict[str, Any]] = {
        "lr": {"lr": 2e-3},
        "seed": {"seed": 1},
        "classifier": {"classifier": str(make_bert(tmp_path / "bert", seed=2))},
        "counterfactual": {"counterfactual": str(tiny_folders["gemma3"])},
        "square": {"square": False},
        "freeze_embeddings": {"freeze_embeddings": True},
        "batch_size": {"batch_size": 2, "accumulate": 4},
    }
    changed = others.get(other, {})
    with reporting_to((heard := Heard()).progress):
        fitted(llama, training[1:] if other == "facts" else training, {**options, **changed})
    learnt = {name for name, _ in heard.steps}
    scope, model = "scope classifier", "counterfactual model"
    only = {"classifier": scope, "square": scope, "counterfactual": model, "lr": model}
    assert learnt == ({only[other]} if other in only else {scope, model})


def test_a_foreign_file_is_not_taken_for_an_artifact(
    llama: Backbone, training: list[Case], options: dict[str, Any], fresh_cache: Path
) -> None:
    fitted(llama, training, options)
    path = artifacts(fresh_cache)["serac-scope"]
    right = path.read_bytes()
    save_file({name: torch.zeros_like(value) for name, value in load_file(path).items()}, path, {"key": "another"})
    fitted(llama, training, options)
    assert path.read_bytes() == right


def test_the_same_seed_gives_the_same_artifacts(
    llama: Backbone,
    training: list[Case],
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From an empty cache, and whatever state the global generator is in."""
    found = []
    for i in range(2):
        monkeypatch.setenv("XKEB_CACHE", str(tmp_path / str(i)))
        torch.manual_seed(i)
        fitted(llama, training, options)
        found.append({kind: path.read_bytes() for kind, path in artifacts(tmp_path / str(i)).items()})
    assert found[0] == found[1] and len(found[0]) == 2


@pytest.mark.parametrize("stop", [("scope classifier", 3), ("counterfactual model", 5)])
def test_a_training_that_was_cut_short_goes_on_as_if_it_had_not(
    llama: Backbone, training: list[Case], options: dict[str, Any], fresh_cache: Path, stop: tuple[str, int]
) -> None:
    fitted(llama, training, {**options, "seed": 7})
    for path in artifacts(fresh_cache).values():  # else the state that is kept would be the one it begins with
        assert min(log_of(path), key=lambda line: line["loss"])["step"] > stop[1]
    expected = {kind: path.read_bytes() for kind, path in artifacts(fresh_cache).items()}
    for path in artifacts(fresh_cache).values():
        path.unlink()
    with reporting_to(Heard(stop).progress), pytest.raises(KeyboardInterrupt):
        fitted(llama, training, {**options, "seed": 7})
    with reporting_to((rest := Heard()).progress):
        fitted(llama, training, {**options, "seed": 7})
    assert rest.steps[0] == (stop[0], stop[1])  # after the checkpoint, two steps apart
    assert {kind: path.read_bytes() for kind, path in artifacts(fresh_cache).items()} == expected


@pytest.mark.parametrize(
    ("rates", "what"),
    [({"classifier_lr": 1e30}, "scope classifier"), ({"lr": 1e30}, "counterfactual model")],
)
def test_a_loss_that_is_no_number_stops_it(
    llama: Backbone,
    training: list[Case],
    options: dict[str, Any],
    fresh_cache: Path,
    rates: dict[str, float],
    what: str,
) -> None:
    with pytest.raises(TrainingError, match=rf"{what}: .* is (nan|inf)\. .* Try a lower lr\."):
        fitted(llama, training, {**options, **rates})


def test_too_few_facts_are_refused(llama: Backbone, training: list[Case], options: dict[str, Any]) -> None:
    bare = [Case(case.id, case.edit, case.probes[:1]) for case in training]
    with pytest.raises(RequestError, match="at least 10"):
        fitted(llama, [*training[:9], *bare], options)
