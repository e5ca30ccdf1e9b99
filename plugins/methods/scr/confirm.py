"""The model's own word on whether a fact answers a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import DynamicCache

from xkeb.models.backbone import Backbone
from xkeb.models.batching import pad
from xkeb.models.passes import Passes, TokenRow
from xkeb.types import PromptStyle

LANGUAGE = "en"
"""Of the words around a fact and a question."""
TASK = (
    "A fact and a question are given. Say yes if the fact answers the question, and no if the question asks for something "
    "else.\n\n"
)
WORDS = ("yes", "no")


class Pair(NamedTuple):
    """What is confirmed."""

    fact: str
    """A question and its answer, in the language of the edit."""
    question: str
    """In whatever language."""


def confirming_style(backbone: Backbone) -> PromptStyle:
    """How the model is asked for its word: as a user where it is asked everything so, else in plain text."""
    return "chat" if backbone.prompt == "chat" else "plain"


@torch.inference_mode()
def log_odds(backbone: Backbone, style: PromptStyle, pairs: Sequence[Pair], *, batch_size: int = 64) -> list[float]:
    """For each pair ``ln p(yes) - ln p(no)``, by the model as it is: of the first tokens in which the two words differ.

    Args:
        style: how it is put.
        batch_size: most rows of one forward pass.
    """
    asked = backbone.asked_in(style)
    rows, ids = [], []
    for pair in pairs:
        text = f"Fact: {pair.fact}\nQuestion: {pair.question}\nYes or no:"
        yes, no = (asked.encode(text, word, LANGUAGE, context=TASK).ids for word in WORDS)
        shared = next(i for i, (one, other) in enumerate(zip(yes, no, strict=False)) if one != other)
        rows.append(TokenRow(yes[:shared], (shared - 1,), context=TASK))
        ids.append((yes[shared], no[shared]))
    return _Words(backbone, rows, ids, batch_size).run()


class _Words(Passes[float]):
    """How much likelier the first of two tokens is than the second, after each row."""

    def __init__(
        self, backbone: Backbone, rows: Sequence[TokenRow], ids: Sequence[tuple[int, int]], batch_size: int
    ) -> None:
        super().__init__(backbone, rows, None, batch_size)
        self.ids = ids

    def _nothing(self) -> float:
        return 0.0

    def _pass(self, batch: Sequence[int], prefix: int, past: DynamicCache | None) -> dict[int, float]:
        backbone, rows = self.backbone, [self.rows[i] for i in batch]
        ids = pad([row.ids[prefix:] for row in rows], backbone.pad_id, backbone.device)
        hidden = backbone.hidden(ids, self.repeated(past, len(batch)))  # (B, T, D)
        last = torch.tensor([row.positions[0] - prefix for row in rows], device=hidden.device)
        logits = backbone.logits(hidden[torch.arange(len(batch), device=hidden.device), last]).float()  # (B, V)
        words = torch.tensor([self.ids[i] for i in batch], device=logits.device)  # (B, 2)
        yes, no = logits.gather(1, words).unbind(1)
        return {i: float(odds) for i, odds in zip(batch, yes - no, strict=True)}
