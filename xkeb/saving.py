"""Changes on disk: one safetensors file each, with its kind and whatever else is data in the file's metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from xkeb.errors import RequestError
from xkeb.plugins import plugins

if TYPE_CHECKING:
    from xkeb.changes import Change

FILE = "change.safetensors"

METHOD = "method:"
"""Before a method's name: a kind of change of its own, which its editor's ``restore(tensors, data)`` makes again."""


def save_change(folder: Path | str, kind: str, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> None:
    """Writes a change as `load_change` reads it.

    Args:
        kind: ``method:NAME`` for a kind that the registered method of that name brings along.
        data: JSON-able.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"kind": kind, "data": json.dumps(data, ensure_ascii=False)}
    # Copied: safetensors refuses tensors that share memory.
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    save_file(own, folder / FILE, metadata)


def load_change(folder: Path | str) -> Change:
    """A change written by its ``save``."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise RequestError(f"There is no saved change in {folder}: expected {FILE}.")
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    restore = _restorer(metadata.get("kind", ""))
    if restore is None:
        raise RequestError(f"{path} holds no change of a known kind ({', '.join(sorted(_kinds()))}).")
    return restore(tensors, json.loads(metadata["data"]))


def _restorer(kind: str) -> Callable[[Mapping[str, torch.Tensor], Mapping[str, Any]], Change] | None:
    """What makes a change of that kind from its tensors and data."""
    if kind.startswith(METHOD):
        return getattr(plugins().methods.get(kind.removeprefix(METHOD)), "restore", None)
    kinds = _kinds()
    return kinds[kind].from_saved if kind in kinds else None


def _kinds() -> Mapping[str, Any]:
    """Those of the suite itself. Asked for late: they save themselves by this module."""
    from xkeb.changes import KINDS

    return KINDS
