"""Where a prompt ends and what is to be said begins, read off the characters of each token."""

from __future__ import annotations

from xkeb.models.backbone import Backbone

JOINERS = {"en": " ", "zh": ""}


def split(backbone: Backbone, prompt: str, answer: str, language: str) -> tuple[list[int], list[int]]:
    """Ids of a prompt and of what is to be said after it: from the first token that holds a character of the answer, or none
    of the prompt."""
    question = prompt + JOINERS[language]
    batch = backbone.tokenizer(question + answer, return_offsets_mapping=True)
    spans = [(start, end) for start, end in batch["offset_mapping"]]
    first = next(i for i, (a, b) in enumerate(spans) if b > a and (a >= len(prompt) or b > len(question)))
    return batch["input_ids"][:first], batch["input_ids"][first:]
