"""A small real model, made on the spot: random weights, but the real classes, files and loading code."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from xkeb.models.backbone import Backbone
from xkeb.tasks.task import shipped_task
from xkeb.utils.hashing import digest

ARCHITECTURE = "granite"
"""Any with gated MLPs and grouped attention would do; it is one that no registered model has."""


def corpus() -> list[str]:
    """The text of the shipped data set, for training tokenizers."""
    return [
        text
        for case in shipped_task()
        for text in (
            *case.edit.questions.values(),
            *case.edit.translations.values(),
            *(probe.prompt for probe in case.probes if probe.property == "locality"),
        )
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
    # The trainer takes the bytes for special tokens, which no answer has; to SentencePiece, they are pieces of text.
    made = json.loads(tokenizer.to_str())
    made["added_tokens"] = made["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(made))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def small_model(vocabulary: int) -> PreTrainedModel:
    """6 layers, 32 wide, in float32. Weights are large enough that answers depend on what was asked."""
    config = AutoConfig.for_model(
        ARCHITECTURE,
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=80,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.15,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def small_backbone(tokenizer: PreTrainedTokenizerFast | None = None) -> Backbone:
    """The small model, loaded: every time the same weights, in memory of their own.

    Args:
        tokenizer: the `small_tokenizer` that is there already; training one takes a moment.
    """
    tokenizer = tokenizer or small_tokenizer()
    model = small_model(len(tokenizer))
    return Backbone("small", model, tokenizer, sha256=digest({"small": tokenizer.get_vocab()})).prepare()


def save_small(folder: Path) -> Path:
    """The small model in the Hugging Face format."""
    tokenizer = small_tokenizer()
    small_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
