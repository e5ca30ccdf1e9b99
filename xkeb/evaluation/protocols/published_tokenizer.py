"""The tokenizer that cuts answers into bags, where another than the backbone's own is asked for."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from xkeb.errors import RequestError, one_line
from xkeb.utils.hashing import digest


@functools.cache
def load_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder.

    Raises:
        RequestError: there is none that can be loaded.
    """
    if not Path(folder).is_dir():
        raise RequestError(f"There is no folder {folder} with the tokenizer that answers are to be counted with.")
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
        raise RequestError(f"{folder} holds no tokenizer that can be loaded: {one_line(error)}.") from error
    return tokenizer


@functools.cache
def tokenizer_hash(folder: str) -> str:
    """Of its vocabulary and of what it makes of a text in two scripts."""
    tokenizer = load_tokenizer(folder)
    return digest({"pieces": tokenizer.get_vocab(), "ids": tokenizer("Who is 李白 2006?")["input_ids"]})
