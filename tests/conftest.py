"""Fixtures of all tests: tiny models, the embedded one, facts, data, and a cache of the run's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_models import byte_level, make_bert, tiny_model

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.testing.small import small_tokenizer
from xkeb.testing.state import own_cache as empty_cache
from xkeb.types import Case
from xkeb.utils.paths import cache_root

pytest_plugins = ["built_wheel", "releases", "some_changes"]
# Plugins that tests also import from.
pytest.register_assert_rewrite(
    "command_line",
    "deadly_plugin",
    "fake_slurm",
    "finished_cells",
    "installed_packages",
    "judge_server",
    "small_jobs",
    "tuning_data",
)


@pytest.fixture(autouse=True, scope="session")
def own_cache() -> Iterator[None]:
    """Artifacts go to a folder of this run; only the converted embedded models are shared with other runs."""
    (cache_root() / "models").mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, empty_cache():
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("TOKENIZERS_PARALLELISM", "false")
        yield


@pytest.fixture(scope="module")
def cache_of_this_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that another module's tests sampled or learned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XKEB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, for what must be learnt anew."""
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders in the Hugging Face format, by family."""
    folders = {}
    for family, tokenizer in (
        ("llama", small_tokenizer()),
        ("gemma3", small_tokenizer()),
        ("gpt2", byte_level()),
    ):
        folder = tmp_path_factory.mktemp("models") / family
        tiny_model(family, len(tokenizer)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        folders[family] = folder
    return folders


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert(tmp_path_factory.mktemp("encoders") / "bert", seed=1)


@pytest.fixture(scope="session", params=["llama", "gemma3", "gpt2"])
def tiny(request: pytest.FixtureRequest, tiny_folders: dict[str, Path]) -> Backbone:
    """A tiny backbone of each family. Shared: a test leaves it as it was."""
    return xkeb.load_backbone("hf", path=str(tiny_folders[request.param]), device="cpu")


@pytest.fixture(scope="session")
def llama(tiny_folders: dict[str, Path]) -> Backbone:
    return xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu")


@pytest.fixture(scope="session")
def gemma() -> Backbone:
    """The embedded default itself."""
    return xkeb.load_backbone("gemma3-270m", device="cpu")


@pytest.fixture(scope="session")
def training() -> list[Case]:
    """Some facts to learn from."""
    return list(xkeb.load_task("bizsre_mini_en2zh").training.cases)[:40]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real data, where it is at hand."""
    root = os.environ.get("XKEB_DATA_DIR")
    if not root or not (Path(root) / "bizsre" / "bizsre_test.json").is_file():
        pytest.skip("the real data is not here: set XKEB_DATA_DIR")
    return Path(root)
