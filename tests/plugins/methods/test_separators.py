"""An edit is learnt from the end of its prompt on, as a user will ask for it: also a separator that is a token of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import xkeb
from xkeb.editing.changes import WeightChange
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.mend.editor import Mend
from xkeb_plugins.methods.mend.updates import make_updates

LONE = Edit("Which city is the capital of Japan?", "2006", "en", "Japan")
"""Its separator is a token of its own."""
WITHIN = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en", "Japan"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh", "法国"),
    Edit("法国的首都是哪座城市？", "2006", "zh", "法国"),
)
"""The separator is within the answer's first token, or there is none."""
METHODS = ("ft", "ft-m", "rome", "memit", "kn", "mend")
TEMPLATES = ("The weather is fine. ", "今天。")


@pytest.fixture(scope="module")
def gpt2(tiny_folders: dict[str, Path]) -> Backbone:
    """Its tokenizer has pieces that begin with a space, but none with a space and a digit."""
    return xkeb.load_backbone("hf", path=str(tiny_folders["gpt2"]), device="cpu")


def changed(method: str, backbone: Backbone, edit: Edit, training: Sequence[Case]) -> dict[str, torch.Tensor]:
    """What an edit adds to the weights."""
    if method == "mend":
        mend = Mend(rank=4, norm=False, edit_lr=1e-2).configure(backbone.spec)
        with torch.no_grad():
            return make_updates(backbone, mend.untrained(backbone), mend.layers or (), [edit])[0].deltas()
    located = {"context_templates": TEMPLATES, "steps": 4, "mom2_corpus": "task"}
    options: dict[str, Any] = {
        "ft": {"layer": 1, "steps": 4},
        "ft-m": {"layer": 1, "steps": 4},
        "rome": {"layer": 1, "mom2_adjustment": False, **located},
        "memit": {"layers": (0, 1), **located},
        "kn": {"steps": 2},
    }
    editor: Any = xkeb.load_editor(method, **options[method])
    editor.fit(backbone, training)
    (change,) = editor.edit(backbone, [edit])
    assert isinstance(change, WeightChange)
    return dict(change.deltas())


@pytest.fixture
def from_the_answer_on(gpt2: Backbone, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A backbone whose prompts end where the answer begins."""
    encode = gpt2.encode

    def until_the_answer(*args: Any, **kwargs: Any) -> Any:
        encoded = encode(*args, **kwargs)
        return dataclasses.replace(encoded, prompt_end=encoded.target)

    monkeypatch.setattr(gpt2, "encode", until_the_answer)
    return monkeypatch


@pytest.mark.parametrize("method", METHODS)
def test_only_a_separator_of_its_own_makes_a_difference(
    gpt2: Backbone, training: list[Case], from_the_answer_on: pytest.MonkeyPatch, method: str
) -> None:
    """Elsewhere every method's change is the same to the bit."""
    edits = (*WITHIN, LONE)
    given = [changed(method, gpt2, edit, training) for edit in edits]
    from_the_answer_on.undo()
    for edit, without in zip(edits, given, strict=True):
        encoded = gpt2.encode(edit.prompt, edit.target, edit.language)
        assert encoded.target - encoded.prompt_end == (edit is LONE)
        learnt = changed(method, gpt2, edit, training)
        same = learnt.keys() == without.keys() and all(torch.equal(learnt[name], without[name]) for name in learnt)
        assert same == (edit is not LONE), edit


@torch.no_grad()
def say(backbone: Backbone, prompt: str, tokens: int) -> str:
    """What the model says after a prompt, greedily."""
    ids = list(backbone.encode(prompt).ids)
    given = len(ids)
    for _ in range(tokens):
        logits = backbone.logits(backbone.hidden(torch.tensor([ids]))[:, -1])
        ids.append(int(logits.argmax()))
    return str(backbone.tokenizer.decode(ids[given:]))


def test_an_answer_that_begins_with_a_digit_is_said_freely(gemma: Backbone) -> None:
    """Unless the separator is learnt, the model begins a new paragraph and asks the question again."""
    edit = Edit("In which year did the Beatles split up?", "2006", "en", "the Beatles")
    encoded = gemma.encode(edit.prompt, edit.target, edit.language)
    assert encoded.target - encoded.prompt_end == 1
    editor: Any = xkeb.load_editor("rome", context_templates=("In short. ",))
    editor.fit(gemma, list(xkeb.load_task("bizsre_mini_en2zh").training.cases)[:150])
    (change,) = editor.edit(gemma, [edit])
    count = len(encoded.continuation_ids)
    assert say(gemma, edit.prompt, count) != " 2006"
    with change.applied(gemma):
        assert say(gemma, edit.prompt, count) == " 2006"
