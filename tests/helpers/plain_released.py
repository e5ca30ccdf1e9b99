"""The released evaluation once more, written from its rules without anything of the suite's: one question at a time, a text for
each token, one padded batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

CUT = 30


@dataclass(frozen=True)
class Said:
    """What was answered and what it is compared with."""

    answer: str
    target: str


@torch.no_grad()
def last_tokens(model: Any, tokenizer: Any, texts: list[str]) -> list[int]:
    """The next token after each text, which is cut off after 30 tokens."""
    rows = [tokenizer(text, truncation=True, max_length=CUT)["input_ids"] for text in texts]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    logits = model(input_ids=ids, attention_mask=mask).logits
    return [int(logits[i, len(row) - 1].argmax()) for i, row in enumerate(rows)]


def rewrite(model: Any, tokenizer: Any, prompt: str, target: str, *, serac: bool = False) -> Said:
    """Of reliability, generality and locality."""
    ids = tokenizer(target, truncation=True, max_length=CUT)["input_ids"]
    if (ids and ids[0] == tokenizer.unk_token_id) or serac:
        ids = ids[1:]
    texts = [prompt] + [prompt + " " + tokenizer.decode(ids[:i]) for i in range(1, len(ids))]
    said = last_tokens(model, tokenizer, texts)
    return Said(tokenizer.decode(said, skip_special_tokens=True), tokenizer.decode(ids, skip_special_tokens=True))


def portability(model: Any, tokenizer: Any, prompt: str, target: str) -> Said:
    ids = tokenizer(" " + target, truncation=True, max_length=CUT)["input_ids"]
    texts = [prompt + tokenizer.decode(ids[:i]) for i in range(len(ids))]
    said = tokenizer.decode(last_tokens(model, tokenizer, texts), skip_special_tokens=True)
    pieces = "".join(tokenizer.decode([piece]) for piece in ids)
    wanted = tokenizer.decode(tokenizer.encode(pieces), skip_special_tokens=True)
    return Said(said.lower().strip(), wanted.lower().strip())


@torch.no_grad()
def in_context(model: Any, tokenizer: Any, context: str, prompt: str, target: str) -> Said:
    """Of a method that shows a context: the last tokens of the whole, as many as the target has alone, but for the first."""
    ids = tokenizer(target)["input_ids"]
    whole = torch.tensor([tokenizer(f"{context}{prompt} {target}")["input_ids"]])
    best = model(input_ids=whole).logits[0].argmax(-1)
    said = best[len(best) - len(ids) : -1].tolist()
    return Said(tokenizer.decode(said, skip_special_tokens=True), tokenizer.decode(ids[1:], skip_special_tokens=True))


def scores(tokenizer: Any, a: str, b: str) -> tuple[float, float]:
    """F1 as the product of precision and recall, and EM."""
    left, right = (tokenizer.encode(text, add_special_tokens=False) for text in (a, b))
    if not left and not right:
        return 1.0, 1.0
    if not left or not right:
        return 0.0, 0.0
    n, m, common = len(left), len(right), 0
    for token in list(left):
        if token in right:
            right.remove(token)
            common += 1
    return common * common / (n * m), float(a == b)
