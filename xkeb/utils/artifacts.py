"""Artifacts on disk: statistics, indices, trained networks, each under the hash of everything it depends on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from xkeb.utils.files import remove_leftovers, replacing
from xkeb.utils.hashing import digest
from xkeb.utils.paths import cache_root

LOG = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]
Make = Callable[[], Tensors]
SUFFIX = ".safetensors"
_STORE: ContextVar[Callable[[Path, Make], Tensors] | None] = ContextVar("store", default=None)
_USED: ContextVar[dict[Path, None] | None] = ContextVar("used", default=None)


def artifact_path(kind: str, key: Mapping[str, Any]) -> Path:
    """Where the artifact of that key is kept, made or not."""
    return cache_root() / kind / f"{digest(key)[:32]}{SUFFIX}"


def key_text(key: Mapping[str, Any]) -> str:
    """The full key, as it is written into an artifact."""
    return json.dumps(dict(key), sort_keys=True, ensure_ascii=False, default=str)


@contextmanager
def artifacts_from(store: Callable[[Path, Make], Tensors]) -> Iterator[None]:
    """Inside, artifacts come from `store` and no file is read or written.

    Args:
        store: takes the path that a file would have and what makes the artifact; returns the artifact.
    """
    token = _STORE.set(store)
    try:
        yield
    finally:
        _STORE.reset(token)


@contextmanager
def artifacts_used() -> Iterator[dict[Path, None]]:
    """Inside, the files of the artifacts that are asked for are noted, in their order."""
    used: dict[Path, None] = {}
    token = _USED.set(used)
    try:
        yield used
    finally:
        _USED.reset(token)


def cached_tensors(kind: str, key: Mapping[str, Any], make: Make) -> Tensors:
    """The artifact of that key. Makes it and keeps it where it isn't kept yet.

    A lock file beside the artifact lets one process make it; the others wait and read what it wrote. The full key is
    written into the file and compared, so a foreign artifact is never used.
    """
    path, text = artifact_path(kind, key), key_text(key)
    if store := _STORE.get():
        return store(path, make)
    if (used := _USED.get()) is not None:
        used[path] = None
    if (artifact := _read(path, text)) is not None:
        return artifact
    with locked(path):
        if (artifact := _read(path, text)) is not None:  # another process made it in the meantime
            return artifact
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
        with replacing(path) as temporary:
            save_file(tensors, temporary, {"key": text})
    return tensors


def _read(path: Path, text: str) -> Tensors | None:
    """The artifact at a path; None where there is none of that key, or none that can be read."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("key") == text:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            LOG.warning("%s holds an artifact of another key; it is made again.", path)
    except (SafetensorError, OSError) as error:
        LOG.warning("%s can't be read (%s); it is made again.", path, error)
    return None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Inside, no other process makes the artifact at `path`, a file or a folder. Waits for one that does.

    The lock ends with the process that holds it, however that ends; its file stays. What such a process left half-written is
    removed.

    Raises:
        OSError: the cache can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    shared = path.parent.stat().st_mode & 0o666  # whoever may write the folder may take the lock
    name = path.name.removesuffix(SUFFIX)
    lock = FileLock(path.with_name(f"{name}.lock"), mode=shared)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        LOG.warning("Another process is making %s; waiting for it.", path)
        lock.acquire()
    try:
        remove_leftovers(path.parent, name)
        yield
    finally:
        lock.release()
