"""What a release of transformers may make of a GGUF file's tokenizer, and that it is seen."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from xkeb.errors import RequestError
from xkeb.models.hf.converted_tokenizer import BEGINS, BOOL, check_converted_tokenizer

WORDS = ("ab", "abc", "bb", "ac", "acc")


def tokenizer(*, merged: bool, begins: bool) -> PreTrainedTokenizerFast:
    """Cuts at spaces; each word of `WORDS` is a piece, if the merges are there that make it."""
    letters = ["▁", "a", "b", "c"]
    merges = [("a", "b"), ("ab", "c"), ("b", "b"), ("a", "c"), ("ac", "c")]
    merges += [("▁", word) for word in WORDS]
    pieces = dict.fromkeys(["<s>", *letters, *(left + right for left, right in merges)])
    numbers = {piece: number for number, piece in enumerate(pieces)}
    inner = Tokenizer(models.BPE(numbers, merges if merged else []))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    if begins:
        inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>")


def gguf(folder: Path, begins: bool | None) -> Path:
    path = folder / "model.gguf"
    declared = b"" if begins is None else BEGINS + struct.pack("<IB", BOOL, begins)
    path.write_bytes(b"GGUF" + b"\0" * 20 + declared + b"\0" * 20)
    return path


@pytest.mark.parametrize("begins", [True, False])
def test_one_that_does_as_the_file_says_passes(tmp_path: Path, begins: bool) -> None:
    check_converted_tokenizer(tokenizer(merged=True, begins=begins), gguf(tmp_path, begins))


def test_a_file_that_says_nothing_of_the_beginning_forbids_none(tmp_path: Path) -> None:
    for begins in (True, False):
        check_converted_tokenizer(tokenizer(merged=True, begins=begins), gguf(tmp_path, None))


def test_words_that_fall_to_letters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"cuts 5 of 5 words of its own vocabulary to pieces.*upgrade transformers"):
        check_converted_tokenizer(tokenizer(merged=False, begins=True), gguf(tmp_path, True))


@pytest.mark.parametrize(("begins", "what"), [(True, "puts a beginning"), (False, "puts no beginning")])
def test_a_beginning_of_text_that_differs_is_refused(tmp_path: Path, begins: bool, what: str) -> None:
    with pytest.raises(RequestError, match=what):
        check_converted_tokenizer(tokenizer(merged=True, begins=begins), gguf(tmp_path, not begins))
