"""Tokenizers of the LLaMA family, cut by SentencePiece itself, with offsets.

Fast tokenizers rank every merge. SentencePiece merges by the score of the result, and of equal scores the leftmost pair first.
Vocabularies that were extended afterwards, for Chinese as a rule, give all their new pieces the same score: what is
leftmost decides there, a ranking can't say so, and a converted tokenizer cuts some Chinese sentences in another way than the
one that the model was trained with.
"""

from __future__ import annotations

import collections
import json
import shutil
from pathlib import Path
from typing import Any

from transformers import BatchEncoding, PreTrainedTokenizer

from xkeb.errors import RequestError, optional_import
from xkeb.models.hf.checkpoint import read_json

FILE = "tokenizer.model"
Span = tuple[int, int]


class SentencePieceTokenizer(PreTrainedTokenizer):
    """A SentencePiece model with the special tokens of the checkpoint.

    Text that spells a special token is text. A space that the model puts before a text has the offset (0, 0); the byte pieces
    of one character all have the offset of that character.
    """

    vocab_files_names = {"vocab_file": FILE}  # noqa: RUF012 - transformers declares them for the instance
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(
        self,
        vocab_file: str,
        bos_token: str | None = "<s>",
        eos_token: str | None = "</s>",
        unk_token: str | None = "<unk>",
        pad_token: str | None = None,
        add_bos_token: bool = True,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            vocab_file: the SentencePiece model.
            add_bos_token: whether a text begins with `bos_token`.

        Raises:
            RequestError: the file is no SentencePiece model.
        """
        self.vocab_file = vocab_file
        self.add_bos_token = add_bos_token
        library = optional_import("sentencepiece", "published", f"The tokenizer {vocab_file}")
        self.pieces: Any = library.SentencePieceProcessor()
        try:
            self.pieces.LoadFromSerializedProto(Path(vocab_file).read_bytes())
        except (OSError, RuntimeError) as error:
            raise RequestError(f"{vocab_file} can't be read as a SentencePiece model: {error}") from error
        kwargs.pop("add_eos_token", None)  # nothing follows an answer
        super().__init__(
            bos_token=bos_token,
            eos_token=eos_token,
            unk_token=unk_token,
            pad_token=pad_token,
            **kwargs,
        )

    # Vocabulary -----------------------------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        return int(self.pieces.GetPieceSize())

    def get_vocab(self) -> dict[str, int]:
        return {self.pieces.IdToPiece(i): i for i in range(self.vocab_size)} | self.added_tokens_encoder

    def _convert_token_to_id(self, token: str) -> int:
        return int(self.pieces.PieceToId(token))

    def _convert_id_to_token(self, index: int) -> str:
        return str(self.pieces.IdToPiece(index))

    # Text to ids ----------------------------------------------------------------------------------------------------------

    def tokenize(self, text: str, *args: Any, **kwargs: Any) -> list[str]:
        return self.pieces.EncodeAsPieces(text)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        bos = [self.bos_token_id] if self.add_bos_token else []
        return [*bos, *token_ids_0, *(token_ids_1 or [])]

    def _encode_plus(  # type: ignore[override]
        self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **kwargs: Any
    ) -> BatchEncoding:
        offsets = kwargs.pop("return_offsets_mapping", False)
        kwargs.setdefault("return_token_type_ids", False)
        encoded = super()._encode_plus(text, text_pair, add_special_tokens, **kwargs)
        if offsets:
            before = [(0, 0)] if add_special_tokens and self.add_bos_token else []
            spans = [before + self._spans(one) for one in ([text] if isinstance(text, str) else text)]
            encoded["offset_mapping"] = spans[0] if isinstance(text, str) else spans
        return encoded

    def _spans(self, text: str) -> list[Span]:
        """Characters [start, end) of each piece. A surface is what a piece stands for in the text as it was given."""
        spans: list[Span] = []
        end, waiting = 0, 0
        for piece in self.pieces.EncodeAsProto(text).pieces:
            start, end = end, end + len(piece.surface)
            spans.append((start, end))
            if start == end and self.pieces.IsByte(piece.id):
                waiting += 1  # SentencePiece ascribes a character to the last of its bytes
            elif waiting:
                spans[-1 - waiting :] = [(start, end)] * (waiting + 1)
                waiting = 0
        return spans

    # Ids to text ----------------------------------------------------------------------------------------------------------

    def _decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        special = set(self.all_special_ids)
        text, run = "", list[int]()
        for i in ids:
            if i in special or i >= self.vocab_size:
                text += self.pieces.DecodeIds(run) + ("" if skip_special_tokens else self.convert_ids_to_tokens(i))
                run = []
            else:
                run.append(i)
        return text + str(self.pieces.DecodeIds(run))

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        target = Path(save_directory) / ((f"{filename_prefix}-" if filename_prefix else "") + FILE)
        if target.resolve() != Path(self.vocab_file).resolve():
            shutil.copyfile(self.vocab_file, target)
        return (str(target),)

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        saved = super().save_pretrained(save_directory, *args, **kwargs)
        config = Path(save_directory) / "tokenizer_config.json"
        settings = json.loads(config.read_text(encoding="utf-8"))
        settings |= {
            "tokenizer_class": "LlamaTokenizer",
            "add_bos_token": self.add_bos_token,
        }  # the nearest that others know
        config.write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        return tuple(saved)


def load_sentencepiece(folder: Path, **defaults: Any) -> SentencePieceTokenizer:
    """The tokenizer of a checkpoint's folder, with the special tokens that its own files name.

    Args:
        defaults: of the upstream class, for what the files leave open.

    Raises:
        RequestError: there is none, or it can't be read.
    """
    if not (folder / FILE).is_file():
        raise RequestError(f"{folder} holds no {FILE}, the SentencePiece model of its tokenizer.")
    contents = [read_json(path) for name in SETTINGS if (path := folder / name).is_file()]
    settings = {key: _token(value) for key, value in collections.ChainMap(*contents).items() if key in TAKEN}
    return SentencePieceTokenizer(str(folder / FILE), **defaults | settings)


SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
TAKEN = ("bos_token", "eos_token", "unk_token", "pad_token", "add_bos_token")


def _token(value: Any) -> Any:
    """Special tokens stand there as text, or with flags that only matter where text is searched for them."""
    return value["content"] if isinstance(value, dict) else value
