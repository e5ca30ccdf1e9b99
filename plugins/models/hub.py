"""Folders from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from xkeb.errors import RequestError, one_line

TEXTS = ("*.json", "*.model", "*.txt")
WEIGHTS = ("*.safetensors", "*.bin")
"""The first that a repository has is fetched."""


def hub_folder(repository: str, revision: str | None, weights: str | None = None) -> Path:
    """A repository's files on this machine; fetched unless they are here.

    Args:
        revision: branch, tag or commit; None for the newest.
        weights: name or pattern of the weight files; None for what there is, safetensors first.

    Raises:
        RequestError: it can't be had.
    """
    try:
        if weights is None:
            names = HfApi().list_repo_files(repository, revision=revision)
            weights = next(
                (pattern for pattern in WEIGHTS if any(Path(name).match(pattern) for name in names)), WEIGHTS[0]
            )
        return Path(snapshot_download(repository, revision=revision, allow_patterns=[*TEXTS, weights]))
    except Exception as error:  # the hub's client raises a dozen kinds, none of them ours
        if (folder := kept_folder(repository, revision)) is not None:
            return folder
        raise RequestError(
            f"Neither a local folder nor to be had from the hub: {repository!r} ({one_line(error)})."
        ) from error


def kept_folder(repository: str, revision: str | None) -> Path | None:
    """Where a repository's files were put when they were fetched; None where they weren't."""
    try:
        return Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
