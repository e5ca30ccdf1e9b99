"""The Chinese LLaMAs: LLaMA 7B and LLaMA-2 7B with a vocabulary extended for Chinese, and trained further on it.

Chinese-LLaMA-Plus was published as a LoRA over LLaMA 7B. Licences: docs/backbones.md.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import LlamaForCausalLM

from xkeb.errors import RequestError, one_line, optional_import
from xkeb.models.backbone import Backbone
from xkeb.models.hf.checkpoint import (
    Checkpoint,
    find_checkpoint,
    model_hash,
    read_json,
    tokenizer_hash,
    weights_hash,
)
from xkeb.models.hf.placement import Placement
from xkeb.models.hf.sentencepiece import load_sentencepiece
from xkeb.models.skeleton import Skeleton
from xkeb.utils.hashing import digest
from xkeb_plugins.models.llama import empty_llama, llama_config, read_llama
from xkeb_plugins.models.published import Published, check_vocabulary


@dataclass(frozen=True, slots=True)
class ChineseLlama2(Published):
    """Chinese-LLaMA-2-7B (vocabulary 55,296; float16)."""

    name: ClassVar[str] = "chinese-llama-2-7b"
    repository: ClassVar[str] = "hfl/chinese-llama-2-7b"
    commit: ClassVar[str | None] = "51905824e8b50021507ca7e0d5846cb60618de36"
    n_bytes: ClassVar[int] = 13_860_000_000
    architecture: ClassVar[str] = "LlamaForCausalLM"
    vocabulary: ClassVar[int] = 55_296
    numbers: ClassVar[dict[str, Any]] = {"max_position_embeddings": 4096, "rms_norm_eps": 1e-5}


@dataclass(frozen=True, slots=True)
class ChineseLlamaPlus(Published):
    """Chinese-LLaMA-Plus-7B (vocabulary 49,953; float16): a merged folder, or LLaMA 7B and the LoRA."""

    base: str | None = None
    """A local folder with LLaMA 7B in the Hugging Face format, for `lora`."""
    lora: str | None = None
    """A local folder with the published LoRA and its tokenizer; it is merged into `base` as the model is loaded."""

    name: ClassVar[str] = "chinese-llama-plus-7b"
    architecture: ClassVar[str] = "LlamaForCausalLM"
    vocabulary: ClassVar[int] = 49_953
    numbers: ClassVar[dict[str, Any]] = {"max_position_embeddings": 2048, "rms_norm_eps": 1e-6}

    def __post_init__(self) -> None:
        if (self.base is None) != (self.lora is None) or (self.path and self.base):
            raise ValueError("it takes path=MERGED, or base=LLAMA and lora=LORA together")

    def load(self, device: torch.device, dtype: torch.dtype) -> Backbone:
        if self.base is None or self.lora is None:
            return Published.load(self, device, dtype)
        adapter = _adapter(Path(self.lora).expanduser())
        base, checkpoint = self._base()
        tokenizer = load_sentencepiece(adapter.parent)
        check_vocabulary(adapter.parent, tokenizer, self.vocabulary)
        model = read_llama(checkpoint, llama_config(base), Placement(device, self.device_map), dtype)
        merged = _merge(model, adapter.parent, self.vocabulary)
        parts = {
            "base": model_hash(checkpoint),
            "adapter": weights_hash([adapter, adapter.parent / "adapter_config.json"]),
            "tokenizer": tokenizer_hash(adapter.parent),
        }
        return Backbone(self.name, merged, tokenizer, digest(parts))

    def skeleton(self) -> Skeleton:
        if self.path is not None:
            return Published.skeleton(self)
        if self.base is None or self.lora is None:
            return Skeleton(empty_llama(self.released()), MISSING)
        _adapter(Path(self.lora).expanduser())
        base, _ = self._base()
        return Skeleton(empty_llama(llama_config({**base, "vocab_size": self.vocabulary})))

    def _folder(self) -> Path:
        if self.path is None:
            raise RequestError(f"{self.name} can't be fetched whole: {MISSING}.")
        return Path(self.path).expanduser()

    def _base(self) -> tuple[dict[str, Any], Checkpoint]:
        assert self.base is not None
        folder = Path(self.base).expanduser()
        checkpoint = find_checkpoint(folder)
        return self.expect(folder, "LLaMA 7B", vocab_size=LLAMA_VOCABULARY), checkpoint


LLAMA_VOCABULARY = 32_000
MISSING = (
    "it was published as a LoRA over LLaMA 7B (hfl/chinese-llama-plus-lora-7b); give --model-args path=MERGED, "
    "or base=LLAMA,lora=LORA"
)
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")


def _adapter(folder: Path) -> Path:
    """The weights of a LoRA."""
    kind = read_json(folder / "adapter_config.json").get("peft_type")
    if kind != "LORA":
        raise RequestError(f"{folder} is not the LoRA of chinese-llama-plus-7b: expected peft_type LORA, found {kind}.")
    for name in ADAPTERS:
        if (folder / name).is_file():
            return folder / name
    raise RequestError(f"{folder} holds no {' or '.join(ADAPTERS)}.")


def _merge(model: LlamaForCausalLM, lora: Path, vocabulary: int) -> LlamaForCausalLM:
    """The model with the LoRA added to its weights, and with the LoRA's own embeddings and head."""
    peft = optional_import("peft", "published", "A LoRA over LLaMA 7B")
    model.resize_token_embeddings(vocabulary, mean_resizing=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its configuration of 2023 has two settings that peft dropped since
            adapted = peft.PeftModel.from_pretrained(model, str(lora))
    except (RuntimeError, ValueError, KeyError) as error:
        raise RequestError(f"{lora} is no LoRA for this model: {one_line(error)[:300]}.") from error
    merged: LlamaForCausalLM = adapted.merge_and_unload()
    return merged
