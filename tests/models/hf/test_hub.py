"""Repositories of the hub: when it is asked, and what counts as fetched. No test reaches it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from xkeb.errors import RequestError
from xkeb.models.hf import hub
from xkeb.models.hf.hub import cached_folder, hub_folder, snapshot_commit

REPOSITORY, COMMIT = "org/name", "0123456789abcdef" * 2 + "01234567"


class Hub:
    """The hub's client, which notes what it is asked and answers nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.asked: list[str] = []
        self.patterns: list[str] = []
        self.cache = cache / "models--org--name"
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(hub, "HfApi", lambda: self)
        monkeypatch.setattr(hub, "snapshot_download", self.download)

    def list_repo_files(self, repository: str, revision: str | None = None) -> list[str]:
        self.asked.append(repository)
        raise ConnectionError("no way out")

    def download(self, repository: str, local_files_only: bool = False, **options: Any) -> str:
        if not local_files_only:
            self.asked.append(repository)
            self.patterns = options["allow_patterns"]
            raise ConnectionError("no way out")
        return huggingface_hub.snapshot_download(repository, local_files_only=True, **options)

    def keep(self, folder: Path) -> Path:
        """Puts a folder where its client keeps what it fetched, as the newest commit of the main branch."""
        kept = Path(shutil.copytree(folder, self.cache / "snapshots" / COMMIT))
        (self.cache / "refs").mkdir()
        (self.cache / "refs" / "main").write_text(COMMIT)
        return kept


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    return Hub(monkeypatch, tmp_path / "hub")


def test_for_a_commit_whose_files_are_here_the_hub_is_not_asked(offline: Hub, tiny_folders: dict[str, Path]) -> None:
    kept = offline.keep(tiny_folders["llama"])
    assert hub_folder(REPOSITORY, COMMIT) == kept and offline.asked == []
    assert snapshot_commit(kept) == COMMIT and snapshot_commit(tiny_folders["llama"]) is None
    assert hub_folder(REPOSITORY, COMMIT, "*.safetensors") == kept and offline.asked == []


@pytest.mark.parametrize("revision", [None, "main"])
def test_for_what_may_move_it_is_asked_and_without_it_the_last_files_serve(
    offline: Hub, tiny_folders: dict[str, Path], revision: str | None
) -> None:
    kept = offline.keep(tiny_folders["llama"])
    assert hub_folder(REPOSITORY, revision) == kept
    assert offline.asked == [REPOSITORY]


def test_a_chat_template_in_a_file_of_its_own_is_fetched_too(offline: Hub) -> None:
    with pytest.raises(RequestError, match="Neither a local folder nor to be had from the hub"):
        hub_folder(REPOSITORY, None, "*.safetensors")
    wanted = ("config.json", "tokenizer.model", "merges.txt", "chat_template.jinja", "model.safetensors")
    assert all(any(Path(name).match(pattern) for pattern in offline.patterns) for name in wanted)


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def drop_a_shard(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def drop_the_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()


def drop_the_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


@pytest.mark.parametrize("spoil", [drop_weights, drop_a_shard, drop_the_configuration, drop_the_tokenizer])
def test_half_a_snapshot_is_not_taken_for_a_whole_one(offline: Hub, tiny_folders: dict[str, Path], spoil: Any) -> None:
    kept = offline.keep(tiny_folders["llama"])
    assert cached_folder(REPOSITORY, COMMIT) == kept
    spoil(kept)
    assert cached_folder(REPOSITORY, COMMIT) is None
    assert offline.asked == []
    with pytest.raises(RequestError, match="nor to be had from the hub: 'org/name'"):
        hub_folder(REPOSITORY, COMMIT)
    assert offline.asked == [REPOSITORY]


def test_weights_asked_for_by_name_must_be_there(offline: Hub, tiny_folders: dict[str, Path]) -> None:
    offline.keep(tiny_folders["llama"])
    assert cached_folder(REPOSITORY, COMMIT, "model.gguf") is None
    with pytest.raises(RequestError, match="nor to be had from the hub"):
        hub_folder(REPOSITORY, COMMIT, "model.gguf")
    assert offline.asked == [REPOSITORY]


def test_what_was_never_fetched_is_not_here(offline: Hub) -> None:
    assert cached_folder(REPOSITORY, COMMIT) is None and cached_folder(REPOSITORY, None) is None
    assert offline.asked == []
