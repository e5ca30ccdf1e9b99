"""SCR with a small encoder, and what it does in plain code."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

import xkeb
from xkeb.editing.editor import prepare
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.scr.confirm import TASK


def fitted(backbone: Backbone, training: Sequence[Case], encoder: Any, **options: Any) -> Any:
    return prepare(
        xkeb.load_editor("scr", **{"encoder": str(encoder), "validation": 12, **options}), backbone, training
    )


def plain_fact(edit: Edit) -> str:
    return edit.prompt + ("" if edit.language == "zh" else " ") + edit.target


def plain_context(edit: Edit) -> str:
    return f"Answer the question by the fact.\n\nFact: {plain_fact(edit)}\nQuestion: "


@torch.no_grad()
def plain_odds(backbone: Backbone, edit: Edit, question: str) -> float:
    """By the model alone, one text at a time, from probabilities."""
    text = f"{TASK}Fact: {plain_fact(edit)}\nQuestion: {question}\nYes or no:"
    yes, no = (backbone.tokenizer(f"{text} {word}")["input_ids"] for word in ("yes", "no"))
    shared = 0
    while yes[shared] == no[shared]:
        shared += 1
    model = copy.deepcopy(backbone.model)
    chances = model(torch.tensor([yes[:shared]])).logits[0, -1].float().softmax(-1)
    return float(torch.log(chances[yes[shared]] / chances[no[shared]]))
