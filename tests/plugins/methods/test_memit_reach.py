"""Which edits can't be made at the subject's last token, by MEMIT and ROME: told by the gradient of the likelihood."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_memit import TEMPLATES, Text, log_probs, read

import xkeb
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit

pytestmark = pytest.mark.usefixtures("fresh_cache")

EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en", "Japan"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh", "法国"),
    Edit("Mount Everest stands in", "Peru", "en", "Mount Everest"),
    Edit("The city of Mozart, Salzburg, is the birthplace of Mozart", "Haydn", "en", "Mozart"),
)
"""The last subject ends its prompt as well, but is edited where it first stands."""
AT_THE_END = (
    Edit("Who wrote War and Peace", "Peru", "en", "War and Peace"),
    Edit("In which country is the river Nile", "Mount Everest", "en", "Nile"),
    Edit("哪座城市是法国", "波尔多", "zh", "法国"),
)
"""The subject's last token is the prompt's, so the answer's first token is predicted from it."""


def editors(layer: int, training: list[Case], backbone: Backbone) -> list[Any]:
    """ROME and MEMIT whose value is written in that layer."""
    shared = {"context_templates": TEMPLATES, "steps": 3}
    rome = xkeb.load_editor("rome", layer=layer, mom2_adjustment=False, **shared)
    memit = xkeb.load_editor("memit", layers=(layer - 1, layer), mom2_corpus="task", **shared)
    memit.fit(backbone, training)
    return [rome, memit]


def slope(backbone: Backbone, edit: Edit, path: str) -> float:
    """Largest derivative of the target's log-likelihood by what leaves a module at the subject, over all prefixes."""
    derivatives = []
    for prefix in ("", *TEMPLATES):
        text: Text = read(backbone, edit, prefix)
        delta = torch.zeros(backbone.layout.hidden_size, requires_grad=True)
        probs = log_probs(backbone, text, path, delta)
        likelihood = torch.stack([probs[i - 1, text.ids[0, i]] for i in text.answer]).sum()
        derivatives.append(torch.autograd.grad(likelihood, delta)[0].abs().max())
    return float(torch.stack(derivatives).max())


def test_an_edit_is_refused_where_the_likelihood_does_not_depend_on_the_value(
    tiny: Backbone, training: list[Case]
) -> None:
    refused = []
    for layer, edit in itertools.product((tiny.n_layers - 2, tiny.n_layers - 1), (*EDITS, *AT_THE_END)):
        flat = {slope(tiny, edit, path) == 0 for path in (tiny.layout.down(layer), tiny.layout.layer(layer))}
        assert len(flat) == 1
        reasons = [editor.unsupported(tiny, edit) for editor in editors(layer, training, tiny)]
        assert [reason is not None for reason in reasons] == [*flat, *flat]
        refused.append(flat == {True})
    n = len(EDITS), len(AT_THE_END)
    assert refused == [False] * sum(n) + [True] * n[0] + [False] * n[1]


def test_it_is_refused_in_one_sentence_and_before_anything_is_optimised(
    tiny: Backbone, training: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    last = tiny.n_layers - 1
    for editor in editors(last, training, tiny):
        for edit in EDITS:
            reason = editor.unsupported(tiny, edit)
            assert f"layer {last} is the last of {tiny.name!r}" in reason and repr(edit.subject) in reason
        with monkeypatch.context() as patch:
            patch.setattr(torch.optim, "Adam", lambda *_, **__: pytest.fail("optimised"))
            with pytest.raises(RequestError, match=f"The edit to 'Peru' can't be made: layer {last} is") as refused:
                editor.edit(tiny, [AT_THE_END[0], EDITS[2]])
        assert "\n" not in str(refused.value)


def test_at_the_end_of_a_prompt_the_last_layer_writes(tiny: Backbone, training: list[Case]) -> None:
    """The first token of the answer becomes likelier, which is all that this layer can do."""
    for editor in editors(tiny.n_layers - 1, training, tiny):
        object.__setattr__(editor, "steps", 20)
        for edit, change in zip(AT_THE_END, editor.edit(tiny, AT_THE_END), strict=True):
            text, nothing = read(tiny, edit), torch.zeros(tiny.layout.hidden_size)
            first, path = text.answer[0], tiny.layout.layer(0)
            with torch.no_grad():
                before = log_probs(tiny, text, path, nothing)[first - 1, text.ids[0, first]]
                with change.applied(tiny):
                    after = log_probs(tiny, text, path, nothing)[first - 1, text.ids[0, first]]
            assert after > before, (type(editor).__name__, edit)


def test_a_subject_that_shares_a_token_with_the_answer_is_refused(
    tiny_folders: dict[str, Path], training: list[Case]
) -> None:
    """What is written at that token comes after the answer has begun, in any layer."""
    gpt2 = xkeb.load_backbone("hf", path=str(tiny_folders["gpt2"]), device="cpu")
    vocabulary = sorted(gpt2.tokenizer.get_vocab())
    merged = next(piece for piece in vocabulary if len(piece) == 2 and piece.isalpha() and piece.isascii())
    edit = Edit(f"哪座城市是{merged[0]}", f"{merged[1]}都", "zh", merged[0])
    text = read(gpt2, edit)
    assert text.site == text.answer[0]  # else this tests nothing
    for editor in editors(2, training, gpt2):
        assert "holds the beginning of the answer" in editor.unsupported(gpt2, edit)
        with pytest.raises(RequestError, match="holds the beginning of the answer"):
            editor.edit(gpt2, [edit])
