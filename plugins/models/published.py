"""The paper's 7B backbones: checkpoints as they were published, read without the code that came with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from transformers import LlamaConfig

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.hf.checkpoint import find_checkpoint, model_hash, no_folder, read_json
from xkeb.models.hf.hub import cached_folder, hub_folder, snapshot_commit
from xkeb.models.hf.placement import DeviceMap, Placement
from xkeb.models.hf.sentencepiece import SentencePieceTokenizer, load_sentencepiece
from xkeb.models.skeleton import Skeleton
from xkeb_plugins.models.llama import Named, empty_llama, llama_config, plain, read_llama

PADDED = 1024
"""Most rows that an embedding has beyond its tokenizer's pieces, to round its size up."""
SHAPE = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
"""What all four share with LLaMA 7B."""


@dataclass(frozen=True, slots=True)
class Published:
    """A 7B model of LLaMA's kind."""

    path: str | None = None
    """A local folder in the format of the release, instead of the hub."""
    revision: str | None = None
    """Branch, tag or commit on the hub.  [default: the commit named in docs/backbones.md]"""
    size: Literal["7b", "any"] = "7b"
    """``any`` takes a checkpoint of the same family and vocabulary in another size."""
    device_map: DeviceMap | None = None
    """``auto`` spreads the layers over all GPUs; a mapping of module paths to devices is followed."""

    name: ClassVar[str]
    repository: ClassVar[str]
    commit: ClassVar[str | None] = None
    """What is fetched unless `revision` says otherwise; None for the newest."""
    n_bytes: ClassVar[int]
    """Of the release's weight files."""
    architecture: ClassVar[str]
    """As its configuration names it."""
    vocabulary: ClassVar[int]
    add_bos_token: ClassVar[bool] = True
    """Whether its tokenizer puts BOS before a text, where its files don't say."""
    numbers: ClassVar[dict[str, Any]] = {}
    """Of its configuration, beside `SHAPE` and `vocabulary`."""

    def load(self, device: torch.device, dtype: torch.dtype) -> Backbone:
        folder = self._folder()
        upstream, checkpoint = self.check(folder), find_checkpoint(folder)
        tokenizer = load_sentencepiece(folder, add_bos_token=self.add_bos_token)
        check_vocabulary(folder, tokenizer, upstream["vocab_size"])
        place = Placement(device, self.device_map)
        model = read_llama(checkpoint, llama_config(upstream), place, dtype, self.unpack)
        return Backbone(self.name, model, tokenizer, model_hash(checkpoint), revision=snapshot_commit(folder))

    def skeleton(self) -> Skeleton:
        """The model's shape: that of the folder, or else of the release."""
        folder = Path(self.path).expanduser() if self.path else cached_folder(self.repository, self._revision())
        if folder is None:
            return Skeleton(empty_llama(self.released()), f"to be fetched from {self.repository}", self.n_bytes)
        upstream = self.check(folder)
        find_checkpoint(folder)
        return Skeleton(empty_llama(llama_config(upstream)))

    def released(self) -> LlamaConfig:
        """The configuration of the release."""
        return llama_config({**SHAPE, **self.numbers, "vocab_size": self.vocabulary})

    def check(self, folder: Path) -> dict[str, Any]:
        """The folder's configuration, if it is this model's.

        Raises:
            RequestError: it is another model's; says what was expected and what was found.
        """
        return self.expect(folder, self.name, architectures=[self.architecture], vocab_size=self.vocabulary)

    def expect(self, folder: Path, name: str, **numbers: Any) -> dict[str, Any]:
        """The folder's configuration, if it has these numbers and `size`."""
        if not folder.is_dir():
            raise no_folder(folder)
        upstream = read_json(folder / "config.json")
        for key, value in {**numbers, **(SHAPE if self.size == "7b" else {})}.items():
            if upstream.get(key) != value:
                hint = " (--model-args size=any takes other sizes)" if key in SHAPE else ""
                raise RequestError(f"{folder} is not {name}: expected {key} {value}, found {upstream.get(key)}{hint}.")
        return upstream

    def unpack(self, name: str, tensor: torch.Tensor) -> Iterable[Named]:
        """What a tensor of the release is in LLaMA's terms."""
        return plain(name, tensor)

    def _folder(self) -> Path:
        return Path(self.path).expanduser() if self.path else hub_folder(self.repository, self._revision())

    def _revision(self) -> str | None:
        return self.revision or self.commit


def check_vocabulary(folder: Path, tokenizer: SentencePieceTokenizer, rows: int) -> None:
    """Refuses a tokenizer and a model that don't belong together.

    Raises:
        RequestError: the tokenizer has more pieces than the model rows, or far fewer.
    """
    if not tokenizer.vocab_size <= rows <= tokenizer.vocab_size + PADDED:
        raise RequestError(
            f"The tokenizer of {folder} has {tokenizer.vocab_size:,} pieces and its model {rows:,} rows: "
            "they don't belong together."
        )
