"""A small real model, made on the spot: random weights, but the real classes, files and loading code."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from xkeb.backbone import Backbone
from xkeb.utils.hashing import digest
from xkeb_plugins.models.small import small_model, small_tokenizer


def small_backbone(tokenizer: PreTrainedTokenizerFast | None = None) -> Backbone:
    """The small model, loaded: every time the same weights, in memory of their own.

    Args:
        tokenizer: the `small_tokenizer` that is there already; training one takes a moment.
    """
    tokenizer = tokenizer or small_tokenizer()
    model = small_model(len(tokenizer))
    return Backbone("small", model, tokenizer, sha256=digest({"small": tokenizer.get_vocab()}))


def save_small(folder: Path) -> Path:
    """The small model in the Hugging Face format."""
    tokenizer = small_tokenizer()
    small_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
