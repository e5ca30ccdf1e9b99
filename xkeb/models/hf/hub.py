"""Folders from the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from xkeb.errors import RequestError, one_line
from xkeb.models.hf.checkpoint import SETTINGS, TOKENIZER, WEIGHT_PATTERNS, find_checkpoint

TEXTS = ("*.json", "*.jinja", "*.model", "*.txt")
COMMIT = re.compile("[0-9a-f]{40}")


def hub_folder(repository: str, revision: str | None, weights: str | None = None) -> Path:
    """A repository's files on this machine; fetched unless they are here.

    Where `revision` is a commit whose files are here, the hub isn't asked.

    Args:
        revision: branch, tag or commit; None for the newest.
        weights: name or pattern of the weight files; None for what there is, safetensors first.

    Raises:
        RequestError: it can't be had.
    """
    cached = cached_folder(repository, revision, weights)
    if cached is not None and revision is not None and COMMIT.fullmatch(revision):
        return cached
    try:
        if weights is None:
            names = HfApi().list_repo_files(repository, revision=revision)
            weights = next(
                (pattern for pattern in WEIGHT_PATTERNS if any(Path(name).match(pattern) for name in names)),
                WEIGHT_PATTERNS[0],
            )
        return Path(snapshot_download(repository, revision=revision, allow_patterns=[*TEXTS, weights]))
    except Exception as error:  # the hub's client raises a dozen kinds, none of them ours
        if cached is not None:
            return cached
        raise RequestError(
            f"Neither a local folder nor to be had from the hub: {repository!r} ({one_line(error)})."
        ) from error


def cached_folder(repository: str, revision: str | None, weights: str | None = None) -> Path | None:
    """Where a repository's files were put when they were fetched; None where some of what a model needs is missing."""
    try:
        folder = Path(snapshot_download(repository, revision=revision, local_files_only=True))
        if weights is None:
            find_checkpoint(folder)
        elif not any(folder.glob(weights)):
            return None
        gguf = (weights or "").endswith(".gguf")  # which holds all three
        lacks = not gguf and not (
            (folder / SETTINGS).is_file() and any((folder / name).is_file() for name in TOKENIZER)
        )
        return None if lacks else folder
    except (LocalEntryNotFoundError, OSError, ValueError, RequestError):
        return None


def snapshot_commit(folder: Path) -> str | None:
    """The commit of a folder that the hub's client fetched; None of any other folder."""
    return folder.name if folder.parent.name == "snapshots" and COMMIT.fullmatch(folder.name) else None
