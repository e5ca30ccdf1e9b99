"""A LLaMA of random weights in the shape of a 7B model, registered like any other, made where it is used.

What a benchmark measures on it does not depend on what the weights are. The tokenizer is trained on the texts of a task, so
these are a little longer in tokens than with the published ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.models.skeleton import Skeleton
from xkeb.registry.manager import get_plugins
from xkeb.utils.hashing import digest

NAME = "random-7b"
SHAPES = {"llama2": 55296, "baichuan2": 125696}
"""Vocabularies of Chinese-LLaMA-2 and Baichuan2; the rest is the same."""


@dataclass(frozen=True)
class Random7B:
    """A random LLaMA; the fields are its ``--model-args``."""

    vocabulary: int = SHAPES["llama2"]
    layers: int = 32
    width: int = 4096
    tokenizer: ClassVar[PreTrainedTokenizerFast]

    def skeleton(self) -> Skeleton:
        return Skeleton(self._model(torch.device("meta"), torch.float32))

    def load(self, device: torch.device, dtype: torch.dtype) -> Backbone:
        model = self._model(device, dtype)
        return Backbone(NAME, model, self.tokenizer, digest([self.vocabulary, self.layers, self.width, str(dtype)]))

    def _model(self, device: torch.device, dtype: torch.dtype) -> LlamaForCausalLM:
        heads = max(1, self.width // 128)
        config = LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            intermediate_size=round(self.width * 2.6875),
            num_hidden_layers=self.layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            tie_word_embeddings=False,
        )
        torch.manual_seed(0)
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with device:
                return LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(before)


def register_random_7b(task: str, data_dir: Path | None, vocabulary: int = SHAPES["llama2"]) -> None:
    """From here on, `NAME` is a model of this process."""
    Random7B.tokenizer = _train_tokenizer(_texts(task, data_dir), vocabulary)
    get_plugins().models.register(__name__, NAME, Random7B)


def _texts(task: str, data_dir: Path | None) -> Iterator[str]:
    for case in xkeb.load_task(task, data_dir=data_dir):
        yield from (case.edit.prompt, case.edit.target, *(probe.prompt for probe in case.probes))


def _train_tokenizer(sentences: Iterator[str], size: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=min(size, 8000), special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def write_encoder(folder: Path, small: bool) -> str:
    """A sentence encoder and scope classifier in the shape of a distilled BERT."""
    folder.mkdir()
    words = sorted({*"abcdefghijklmnopqrstuvwxyz0123456789", *map(chr, range(0x4E00, 0x5E00))})
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *(f"##{word}" for word in words)]),
        encoding="utf-8",
    )
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    width, layers = (32, 2) if small else (768, 6)
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=width,
        intermediate_size=2 * width if small else 4 * width,
        num_attention_heads=2 if small else 12,
        num_hidden_layers=layers,
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


def write_counterfactual(folder: Path, small: bool) -> str:
    """SERAC's counterfactual model in the shape of llama-160m: 12 layers of width 768."""
    width, layers = (32, 2) if small else (768, 12)
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(2, width // 64),
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    Random7B.tokenizer.save_pretrained(folder)
    return str(folder)
