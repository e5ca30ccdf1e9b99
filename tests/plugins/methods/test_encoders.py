"""Encoders in a local folder: what was learnt with one is not taken for what another in the same folder says."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from easyeditor_runs import installed
from tiny_models import make_bert

import xkeb
from xkeb.editing.editor import prepare
from xkeb.editing.sights import show_training
from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb.utils.artifacts import artifact_path, artifacts_used
from xkeb.utils.hashing import digest, digest_file, digest_texts
from xkeb_plugins.methods.encoders import embed, encoder_key
from xkeb_plugins.methods.ike import InContext, demonstrations
from xkeb_plugins.methods.remake.demonstrations import Demonstrations
from xkeb_plugins.methods.serac.scope import load_encoder

pytestmark = pytest.mark.usefixtures("cache_of_this_module")
CPU = torch.device("cpu")
TEXTS = ["What is near?", "Who wrote it?"]


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    """An encoder that a test may change."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "encoder"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert(tmp_path_factory.mktemp("encoders") / "other", seed=2)


@pytest.fixture(scope="module")
def facts() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh").parallel_training.cases)[:12]


def used(backbone: Backbone, facts: Sequence[Case], method: str, options: dict[str, Any]) -> set[Path]:
    """The artifacts of a method."""
    with artifacts_used() as paths:
        if method == "remake":  # without its classifier
            Demonstrations(facts, 2, options["encoder"]).index("en", CPU)
        else:
            prepare(xkeb.load_editor(method, **options), backbone, facts)
    assert paths
    return set(paths)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("ike", {"k": 2}),
        ("scr", {"validation": 4}),
        ("remake", {}),
        pytest.param("easyeditor-ike", {"k": 2}, marks=installed),
    ],
)
def test_another_encoder_in_a_folder_has_artifacts_of_its_own(
    llama: Backbone, facts: list[Case], folder: Path, other: Path, method: str, options: dict[str, Any]
) -> None:
    options["encoder"] = str(folder)
    first = used(llama, facts, method, options)
    assert used(llama, facts, method, options) == first
    moved = folder.rename(folder.with_name("moved"))
    assert used(llama, facts, method, {**options, "encoder": str(moved)}) == first
    shutil.copytree(other, folder)
    assert used(llama, facts, method, options).isdisjoint(first)


def test_a_folder_is_loaded_again_where_it_holds_another_encoder(folder: Path, other: Path) -> None:
    first = embed(str(folder), TEXTS, CPU)
    assert torch.equal(embed(str(folder), TEXTS, CPU), first)
    shutil.copytree(other, folder, dirs_exist_ok=True)
    second = embed(str(folder), TEXTS, CPU)
    assert torch.equal(second, embed(str(other), TEXTS, CPU)) and not torch.allclose(second, first)


def test_what_follows_the_transformer_is_a_part_of_a_sentence_encoder(folder: Path) -> None:
    (folder / "1_Pooling").mkdir()
    pooling = folder / "1_Pooling" / "config.json"
    keys, scopes = [], []
    for mode in ("mean", "cls"):
        pooling.write_text(f'{{"pooling_mode": "{mode}"}}', encoding="utf-8")
        keys.append(encoder_key(str(folder)))
        scopes.append(load_encoder(str(folder), CPU).sha256)
    assert keys[0] != keys[1] and scopes[0] == scopes[1]  # SERAC reads the transformer alone


def test_what_was_learnt_with_an_encoder_that_is_no_folder_s_is_still_known(llama: Backbone, facts: list[Case]) -> None:
    key = {"encoder": "all-MiniLM-L6-v2", "texts": digest_texts(demonstrations(show_training(facts, InContext().sees)))}
    assert used(llama, facts, "ike", {"k": 2}) == {artifact_path("ike", key)}


def test_serac_knows_its_classifier_as_before(folder: Path) -> None:
    files = sorted(path for suffix in ("json", "txt", "model", "safetensors") for path in folder.glob(f"*.{suffix}"))
    assert load_encoder(str(folder), CPU).sha256 == digest([[path.name, digest_file(path)] for path in files])


@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("ike", "encoder"),
        ("scr", "encoder"),
        ("remake", "encoder"),
        ("serac", "classifier"),
        ("serac", "counterfactual"),
        pytest.param("easyeditor-ike", "encoder", marks=installed),
    ],
)
def test_a_folder_is_among_what_a_method_reads(llama: Backbone, folder: Path, method: str, option: str) -> None:
    def read(**options: Any) -> set[Path]:
        return set(xkeb.load_editor(method, **options).configure(llama.spec).reads())

    assert read(**{option: str(folder)}) - read() == {folder, *folder.iterdir()}
    assert not any(path.is_relative_to(folder) for path in read())
