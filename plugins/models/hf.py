"""Any causal language model in the Hugging Face format: a local folder, a GGUF file, or a hub id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from xkeb.backbone import Backbone
from xkeb.errors import RequestError
from xkeb.outline import Outline
from xkeb_plugins.models.hub import hub_folder, kept_folder
from xkeb_plugins.models.loading import load_folder, outline_folder, settle_folder
from xkeb_plugins.models.placement import DeviceMap


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

    def load(self, device: torch.device, dtype: torch.dtype) -> Backbone:
        folder = hub_folder(self._name(), self.revision, self.gguf_file) if self._on_hub() else self._local()
        return load_folder("hf", folder, device, dtype, gguf_file=self.gguf_file, device_map=self.device_map)

    def outline(self) -> Outline | None:
        """None for a repository that was not fetched yet."""
        folder = kept_folder(self._name(), self.revision) if self._on_hub() else self._local()
        return None if folder is None else outline_folder(settle_folder("hf", folder, self.gguf_file))

    def _name(self) -> str:
        if not self.path:
            raise RequestError("Model 'hf' needs --model-args path=FOLDER, path=FILE.gguf or path=org/name.")
        return self.path

    def _local(self) -> Path:
        return Path(self._name()).expanduser()

    def _on_hub(self) -> bool:
        name = self._name()
        return not self._local().exists() and name.count("/") == 1 and not name.startswith((".", "/", "~"))
