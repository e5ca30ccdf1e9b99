"""The tokenizer that EasyEdit's code is handed: the backbone's own, or one that knows which ids this suite would use.

Left to itself it tokenises the answer apart from the question, with a space before it in every language, and a BOS token
that some of its methods then train as part of the answer; it appends decoded ids to texts and tokenises those anew; and it
counts the tokens up to the subject's end in a text that stops there. `Given` answers such calls with the ids of question
and answer tokenised once.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from transformers import BatchEncoding

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Edit

Tokens = Literal["easyeditor", "xkeb"]
"""Whose ids its code works on: those that it makes itself, or those of this suite's protocol."""
Padding = Literal["left", "right"]
"""Where rows are filled up."""

FIRST, SIZE = 0xE000, 6400
"""The characters of Unicode's private use area, in which `Given` writes ids."""


def own_tokenizer(backbone: Backbone, padding: Padding = "right") -> Any:
    """The backbone's tokenizer as EasyEdit sets it up: rows filled up with the end token, for most methods on the right.

    Raises:
        RequestError: questions are put in another way than as they stand, which its tokenization doesn't know.
    """
    check_plain(backbone, "EasyEdit's tokenization")
    tokenizer: Any = copy.deepcopy(backbone.tokenizer)
    tokenizer.pad_token_id = backbone.pad_id
    tokenizer.padding_side = padding
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


def check_plain(backbone: Backbone, what: str) -> None:
    """
    Raises:
        RequestError: questions are put in another way than as they stand.
    """
    if backbone.prompt != "plain":
        raise RequestError(f"{what} knows questions as they stand only: not --prompt {backbone.prompt}.")


class Given:
    """Looks like a tokenizer. Known texts have given ids; ids that it decoded come back as they were."""

    bos_token_id = unk_token_id = -1  # none of the given ids is to be dropped as special

    def __init__(
        self, backbone: Backbone, ids_by_text: Mapping[str, Sequence[int]], padding: Padding = "right"
    ) -> None:
        self.backbone, self.ids_by_text, self.padding_side = backbone, dict(ids_by_text), padding
        self.eos_token_id = self.pad_token_id = backbone.pad_id

    def encode(self, text: str, return_tensors: str | None = None, add_special_tokens: bool = True) -> Any:
        """Ids as a list, or with `return_tensors` as one row. A known text has those that it has."""
        ids = self._ids(text)
        return ids if return_tensors is None else torch.tensor([ids])

    def _ids(self, text: str) -> list[int]:
        head = text.rstrip("".join(map(chr, range(FIRST, FIRST + SIZE))))
        digits = [ord(character) - FIRST for character in text[len(head) :]]
        ids = [high * SIZE + low for high, low in zip(digits[::2], digits[1::2], strict=True)]
        return [*(self.ids_by_text[head] if head in self.ids_by_text else self.backbone.encode(head).ids), *ids]

    def decode(self, ids: Any) -> str:
        """Two characters an id, which `encode` reads back."""
        numbers = torch.as_tensor(ids).reshape(-1).tolist()
        return "".join(chr(FIRST + digit) for number in numbers for digit in divmod(int(number), SIZE))

    def __call__(
        self,
        texts: str | Sequence[str],
        return_tensors: str | None = None,
        padding: bool = False,
        truncation: bool = False,
        add_special_tokens: bool = True,
    ) -> BatchEncoding:
        rows = [self._ids(text) for text in ([texts] if isinstance(texts, str) else texts)]
        if return_tensors is None:
            return BatchEncoding({"input_ids": rows[0] if isinstance(texts, str) else rows})
        return BatchEncoding(
            {
                "input_ids": self._filled(rows, self.pad_token_id),
                "attention_mask": self._filled([[1] * len(row) for row in rows], 0),
            }
        )

    def _filled(self, rows: Sequence[list[int]], filling: int) -> torch.Tensor:
        width = max(map(len, rows))
        gaps = [[filling] * (width - len(row)) for row in rows]
        left = self.padding_side == "left"
        return torch.tensor([gap + row if left else row + gap for row, gap in zip(rows, gaps, strict=True)])


def given_tokenizer(
    backbone: Backbone,
    edits: Sequence[Edit],
    prefixes: Sequence[str] = ("",),
    *,
    located: bool = False,
    answered: bool = False,
    padding: Padding = "right",
) -> Given:
    """The tokenizer for some edits, with this suite's ids.

    Args:
        prefixes: what its code will put before a prompt.
        located: it will look for the subject as well.
        answered: it will join a prompt and its answer by a space.

    Raises:
        RequestError: one text would need two tokenisations.
    """
    ids_by_text: dict[str, tuple[int, ...]] = {}

    def learn(text: str, ids: tuple[int, ...]) -> None:
        if ids_by_text.setdefault(text, ids) != ids:
            raise RequestError(f"EasyEdit's code asks for the tokens of {text!r} in two roles, in which they differ.")

    def learn_subject(edit: Edit, prefix: str, ids: tuple[int, ...]) -> None:
        end = edit.prompt.find(edit.subject) + len(edit.subject)
        learn(prefix + edit.prompt[:end], ids[: backbone.subject_last(edit, prefix) + 1])

    for edit in edits:
        for prefix in prefixes:
            encoded = backbone.encode(edit.prompt, edit.target, edit.language, context=prefix)
            learn(prefix + edit.prompt, encoded.ids[: encoded.prompt_end])
            if answered:
                learn(f"{prefix}{edit.prompt} {edit.target}", encoded.ids)
            if located:
                learn_subject(edit, prefix, encoded.ids)
        target_ids = backbone.encode(edit.prompt, edit.target, edit.language).continuation_ids
        learn(edit.target, target_ids)
        learn(f" {edit.target}", target_ids)
        if located:
            essence = Edit(f"{edit.subject} is a", "", edit.language, edit.subject)  # where the drift is measured
            learn(essence.prompt, backbone.encode(essence.prompt).ids)
            learn_subject(essence, "", backbone.encode(essence.prompt).ids)
    return Given(backbone, ids_by_text, padding)
