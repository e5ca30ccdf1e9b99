"""A small model for tests: random weights, but the real classes; its tokenizer is trained on the shipped questions."""

from __future__ import annotations

import json
from importlib import resources

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def corpus() -> list[str]:
    """The text of the shipped data set, for training tokenizers."""
    file = resources.files("xkeb_plugins.datasets.bizsre_mini") / "bizsre_mini_test.json"
    records = json.loads(file.read_text(encoding="utf-8"))
    return [
        text
        for record in records
        for side in ("en", "zh")
        for text in (record[side]["src"], record[side]["alt"], record[side]["loc"])
    ]


def small_tokenizer() -> PreTrainedTokenizerFast:
    """As SentencePiece does it: spaces become ``▁``, one before the text, bytes for what is unknown, and a BOS token."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(
        corpus(), trainers.BpeTrainer(vocab_size=900, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def small_model(vocabulary: int) -> LlamaForCausalLM:
    """6 layers, 32 wide, in float32. Weights are large enough that answers depend on what was asked."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=32,
                intermediate_size=80,
                num_hidden_layers=6,
                num_attention_heads=4,
                num_key_value_heads=2,
                initializer_range=0.15,
                tie_word_embeddings=False,
            )
        )
