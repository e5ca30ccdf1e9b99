"""Any causal language model in the Hugging Face format: a local folder, a GGUF file, or a hub id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from xkeb_plugins.models.loading import load_folder

from xkeb.backbone import Backbone
from xkeb.errors import RequestError


@dataclass(frozen=True, slots=True)
class HuggingFace:
    """Any causal language model: a local folder, a GGUF file, or a hub id. No remote code is run."""

    path: str | None = None
    """A local folder, a GGUF file, or a hub id such as ``org/name``."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    gguf_file: str | None = None
    """Which GGUF file of the folder."""

    def load(self, device: torch.device, dtype: torch.dtype) -> Backbone:
        if not self.path:
            raise RequestError("Model 'hf' needs --model-args path=FOLDER, path=FILE.gguf or path=org/name.")
        path = Path(self.path).expanduser()
        if not path.exists() and self.path.count("/") == 1 and not self.path.startswith((".", "/", "~")):
            path = self._download(self.path)
        return load_folder("hf", path, device, dtype, gguf_file=self.gguf_file)

    def _download(self, repository: str) -> Path:
        from huggingface_hub import snapshot_download

        wanted = ["*.json", "*.model", "*.txt", self.gguf_file or "*.safetensors"]
        try:
            return Path(snapshot_download(repository, revision=self.revision, allow_patterns=wanted))
        except Exception as error:  # the hub's client raises a dozen kinds, none of them ours
            reason = str(error).strip().splitlines()[0]
            raise RequestError(
                f"Neither a local folder nor to be had from the hub: {repository!r} ({reason})"
            ) from error
