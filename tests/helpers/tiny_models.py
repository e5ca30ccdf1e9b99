"""Tiny real models, made on the spot: random weights, but the real classes, files and loading code."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from xkeb.testing.small import corpus


def byte_level() -> PreTrainedTokenizerFast:
    """GPT-2's way: bytes, no BOS token; a Chinese character may be several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")


def tiny_model(family: str, vocabulary: int) -> PreTrainedModel:
    """A random model of a family, in float32. Weights are large enough that answers depend on what was asked."""
    torch.manual_seed(0)
    if family == "llama":
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
    if family == "gemma3":
        return Gemma3ForCausalLM(
            Gemma3TextConfig(
                vocab_size=vocabulary,
                hidden_size=32,
                intermediate_size=80,
                num_hidden_layers=6,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=16,
                sliding_window=16,
                initializer_range=0.15,
            )
        )
    if family == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=4, n_head=4, n_positions=512, initializer_range=0.15)
        )
    raise ValueError(family)


def make_bert(folder: Path, seed: int) -> Path:
    """A random BERT with a WordPiece tokenizer of its own, in a folder that is made. Its pieces are counted, not trained:
    training draws among equals, so that every run had others."""
    texts = corpus()
    characters = sorted(set("".join(texts)) - {" "})
    words = Counter(word for text in texts for word in text.split())
    common = sorted(words.keys() - set(characters), key=lambda word: (-words[word], word))[:200]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{one}" for one in characters), *common]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=False).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.1,
    )
    BertModel(config).save_pretrained(folder)
    return folder
