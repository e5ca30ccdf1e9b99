"""Any causal language model in the Hugging Face format: a local folder, a GGUF file, or a hub id."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.hf.hub import cached_folder, hub_folder
from xkeb.models.hf.loading import folder_skeleton, load_folder, resolve_folder
from xkeb.models.hf.placement import DeviceMap
from xkeb.models.skeleton import Skeleton


@dataclass(frozen=True, slots=True)
class HuggingFace:
    """Any causal language model: a local folder, a GGUF file, or a hub id. No remote code is run."""

    path: str | None = None
    """A local folder, a GGUF file, or a hub id such as ``org/name``."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    gguf_file: str | None = None
    """Which GGUF file of the folder."""
    device_map: DeviceMap | None = None
    """``auto`` spreads the layers over all GPUs; a mapping of module paths to devices is followed."""

    @property
    def display_name(self) -> str:
        """The last part of the folder, file or repository: ``hf:NAME`` gives it another."""
        name = self._name()
        path = Path(name.rpartition("/")[2]) if self._on_hub() else Path(os.path.normpath(self._local().absolute()))
        return path.stem if path.suffix == ".gguf" else path.name

    def load(self, device: torch.device, dtype: torch.dtype) -> Backbone:
        folder = hub_folder(self._name(), self.revision, self.gguf_file) if self._on_hub() else self._local()
        return load_folder(self.display_name, self._resolved(folder), device, dtype, device_map=self.device_map)

    def skeleton(self) -> Skeleton | None:
        """None for a repository that was not fetched yet."""
        folder = cached_folder(self._name(), self.revision, self.gguf_file) if self._on_hub() else self._local()
        return None if folder is None else folder_skeleton(self._resolved(folder))

    def _resolved(self, folder: Path) -> Path:
        """A GGUF file is converted once, by whichever name the model is shown."""
        return resolve_folder("hf", folder, self.gguf_file)

    def _name(self) -> str:
        if not self.path:
            raise RequestError("Model 'hf' needs --model-args path=FOLDER, path=FILE.gguf or path=org/name.")
        return self.path

    def _local(self) -> Path:
        return Path(self._name()).expanduser()

    def _on_hub(self) -> bool:
        name = self._name()
        return not self._local().exists() and name.count("/") == 1 and not name.startswith((".", "/", "~"))
