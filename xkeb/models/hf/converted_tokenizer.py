"""The tokenizer that a GGUF file was converted to: read back, and compared with what the file says.

transformers reads the tokenizer, and not every release of it reads every kind: of SentencePiece's, 5.17 lost the merges (a word
becomes its letters), 5.18 to 5.22 the beginning of text. A model says nonsense after either, and nothing fails.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import transformers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from xkeb.errors import RequestError
from xkeb.models.hf.checkpoint import read_json

SAMPLE = 500
"""Pieces that are cut again."""
SHARE = 0.9
"""Of them that must come back whole: 1.00 and 0.99 of the embedded models' do, none where the merges are lost."""
BEGINS = b"tokenizer.ggml.add_bos_token"
BOOL = 7
"""GGUF's number for this type of value: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"""

STATED = (
    *("bos_token", "eos_token", "unk_token", "pad_token", "mask_token", "extra_special_tokens"),
    *("model_max_length", "clean_up_tokenization_spaces", "padding_side"),
)
"""What stands in ``tokenizer_config.json`` and not in ``tokenizer.json``."""


def load_converted_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer as its file has it.

    ``AutoTokenizer`` gives the same tokens, and reads the file three times, twice in Python: seconds for 262,144 pieces.
    """
    stated = read_json(folder / "tokenizer_config.json")
    template = folder / "chat_template.jinja"
    chat = {"chat_template": template.read_text(encoding="utf-8")} if template.is_file() else {}
    kept = {name: stated[name] for name in STATED if name in stated}
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **kept, **chat)


def check_converted_tokenizer(tokenizer: PreTrainedTokenizerBase, gguf: Path) -> None:
    """Cuts words of the vocabulary, and compares the beginning of a text with what the file says of it.

    Raises:
        RequestError: the tokenizer doesn't do what the file says.
    """
    words = _words(tokenizer)
    whole = sum(tokenizer(text, add_special_tokens=False)["input_ids"] == [piece] for piece, text in words)
    if whole < SHARE * len(words):
        raise _wrong(f"cuts {len(words) - whole} of {len(words)} words of its own vocabulary to pieces")
    declared = _begins(gguf)
    begins = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    if declared is not None and declared != begins:
        raise _wrong(f"puts {'a' if begins else 'no'} beginning of text before a text, and the file says otherwise")


def _wrong(what: str) -> RequestError:
    return RequestError(
        f"The tokenizer that transformers {transformers.__version__} reads from the GGUF file {what}: "
        "`pip install --upgrade transformers`."
    )


def _words(tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, str]]:
    """Pieces of Latin letters with a space before them, evenly over the vocabulary, and the text that each stands for."""
    found = sorted((number, piece) for piece, number in tokenizer.get_vocab().items() if _is_word(piece))
    return [(number, f" {piece[1:]}") for number, piece in found[:: max(1, len(found) // SAMPLE)]]


def _is_word(piece: str) -> bool:
    return piece[:1] in {"▁", "Ġ"} and len(piece) > 2 and piece[1:].isascii() and piece[1:].isalpha()


def _begins(gguf: Path) -> bool | None:
    """What the file says; None if it says nothing."""
    with gguf.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.find(BEGINS)
        if place < 0:
            return None
        kind, value = struct.unpack_from("<IB", content, place + len(BEGINS))
    return bool(value) if kind == BOOL else None
