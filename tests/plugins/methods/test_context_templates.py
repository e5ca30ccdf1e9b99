"""Context templates as EasyEdit writes them, and as plain prefixes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import xkeb
from xkeb.editing.editor import prepare
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.locate.context_templates import as_prefixes

PREFIXES = ("The weather is fine. ", "Therefore, on the whole. ", "今天。")
WRITTEN = ("The weather is fine. {}", "Therefore, on the whole. ", "今天。{}")
"""The same, two of them with a place for the prompt."""
EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en", "Japan"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh", "法国"),
)
OPTIONS: dict[str, dict[str, Any]] = {
    "rome": {"layer": 1, "mom2_adjustment": False},
    "memit": {"layers": (0, 1, 2), "mom2_update_weight": 5.0},
}


def edited(backbone: Backbone, training: list[Case], method: str, templates: tuple[str, ...]) -> list[Any]:
    editor = xkeb.load_editor(method, steps=3, context_templates=templates, **OPTIONS[method])
    return list(prepare(editor, backbone, training).edit(backbone, EDITS))


@pytest.mark.parametrize("method", OPTIONS)
def test_both_forms_give_the_same_change(llama: Backbone, training: list[Case], method: str) -> None:
    plain = edited(llama, training, method, PREFIXES)
    written = edited(llama, training, method, WRITTEN)
    for mine, theirs in zip(plain, written, strict=True):
        assert mine.deltas().keys() == theirs.deltas().keys()
        assert all(delta.any() and torch.equal(delta, theirs.deltas()[name]) for name, delta in mine.deltas().items())


@pytest.mark.parametrize("method", OPTIONS)
def test_the_prompt_s_place_alone_is_the_bare_prompt(llama: Backbone, training: list[Case], method: str) -> None:
    (place, *_), (empty, *_) = (edited(llama, training, method, templates) for templates in (("{}",), ("",)))
    assert all(torch.equal(delta, empty.deltas()[name]) for name, delta in place.deltas().items())


@pytest.mark.parametrize("method", OPTIONS)
@pytest.mark.parametrize("template", ["In short. {} Indeed.", "{} ", "{}{}"])
def test_text_after_the_prompt_is_refused(
    llama: Backbone, training: list[Case], method: str, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.optim, "Adam", lambda *_, **__: pytest.fail("optimised"))
    with pytest.raises(RequestError, match="goes on after the prompt") as refused:
        edited(llama, training, method, (PREFIXES[0], template))
    assert repr(template) in str(refused.value) and "\n" not in str(refused.value)


def test_prefixes_of_templates() -> None:
    assert as_prefixes(PREFIXES) == as_prefixes(WRITTEN) == PREFIXES
    assert as_prefixes(()) == ()
    assert as_prefixes(("A brace { is one. {}", "A } too. ")) == ("A brace { is one. ", "A } too. ")
