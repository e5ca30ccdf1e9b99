"""Edits, and what is tokenized of them, for plain implementations that work on one text at a time."""

from __future__ import annotations

import torch

from xkeb.models.backbone import Backbone
from xkeb.types import Edit, Query

EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh"),
    Edit("Mount Everest, which is the highest mountain on earth, stands in", "Peru", "en"),
)


def ids_of(backbone: Backbone, edit: Edit, before: str = "") -> tuple[torch.Tensor, list[int]]:
    """Ids of question and answer, [1, T], and the answer's positions, after a prefix."""
    question = before + edit.prompt + {"en": " ", "zh": ""}[edit.language]
    end = len(before + edit.prompt)
    batch = backbone.tokenizer(question + edit.target, return_offsets_mapping=True)
    spans = enumerate(batch["offset_mapping"])
    answer = [i for i, (start, end_) in spans if end_ > start and (start >= end or end_ > len(question))]
    return torch.tensor([batch["input_ids"]]), answer


def question(edit: Edit) -> Query:
    return Query(edit.prompt, edit.target, edit.language)


def error(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    """Relative, of a matrix."""
    return float((mine - theirs).norm() / theirs.norm())
