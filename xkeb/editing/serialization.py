"""Changes on disk: one safetensors file each, with its kind and whatever else is data in the file's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from xkeb.errors import RequestError

FILE = "change.safetensors"

METHOD = "method:"
"""Before a method's name: a kind of change of its own, which its editor's ``restore(tensors, data)`` makes again."""


@dataclass(frozen=True, slots=True)
class SavedChange:
    """What a file holds of a change."""

    path: Path
    kind: str
    tensors: Mapping[str, torch.Tensor]
    data: Mapping[str, Any]


def save_change(folder: Path | str, kind: str, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> None:
    """Writes a change as `read_change` reads it.

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


def read_change(folder: Path | str) -> SavedChange:
    """What `save_change` wrote.

    Raises:
        RequestError: there is none.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise RequestError(f"There is no saved change in {folder}: expected {FILE}.")
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return SavedChange(path, metadata.get("kind", ""), tensors, json.loads(metadata.get("data", "{}")))
