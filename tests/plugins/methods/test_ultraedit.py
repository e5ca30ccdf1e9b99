"""UltraEdit: its normaliser and its equation by hand, and against a plain one: the whole model, one text at a time, NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import xkeb
from xkeb.editing.editor import prepare
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.ultraedit.editor import UltraEdit, regress
from xkeb_plugins.methods.ultraedit.normalizer import Normalizer, as_tensors, from_tensors
from xkeb_plugins.methods.ultraedit.signals import Signal, find_matrix

pytestmark = pytest.mark.usefixtures("fresh_cache")

EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh"),
    Edit("Mount Everest, which is the highest mountain on earth, stands in", "Peru", "en"),
)
LR = 1e-3
EPSILON = float(np.finfo(np.float32).eps)


def matrices(backbone: Backbone) -> tuple[str, str]:
    """A projection out of one MLP, and one into another."""
    return ("1.c_proj", "2.c_fc") if backbone.layout.down_proj.endswith("c_proj") else ("1.down_proj", "2.gate_proj")


def paths(backbone: Backbone) -> list[str]:
    return [find_matrix(backbone.layout, name)[1] for name in matrices(backbone)]


def ultraedit(backbone: Backbone, training: Sequence[Case] = (), **options: Any) -> UltraEdit:
    editor = xkeb.load_editor("ultraedit", **{"matrices": matrices(backbone), "lr": LR, "warmup": 20, **options})
    editor = prepare(editor, backbone, training)
    assert isinstance(editor, UltraEdit)
    return editor


def signal(backbone: Backbone, edit: Edit, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Input, and gradient of the output, at the tokens that predict the answer."""
    separator = {"en": " ", "zh": ""}[edit.language]
    text = edit.prompt + separator + edit.target
    batch = backbone.tokenizer(text, return_offsets_mapping=True)
    ids, offsets = torch.tensor([batch["input_ids"]]), batch["offset_mapping"]
    prompt, question = len(edit.prompt), len(edit.prompt + separator)
    answer = [i for i, (start, end) in enumerate(offsets) if end > start and (start >= prompt or end > question)]
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        output.requires_grad_(True).retain_grad()
        seen.append((inputs[0].detach(), output))

    handle = backbone.module(path).register_forward_hook(keep)
    try:
        logits = backbone.model(ids).logits[0]
    finally:
        handle.remove()
    at = [i - 1 for i in answer]
    F.cross_entropy(logits[at], ids[0, answer]).backward()
    inputs, output = seen[0]
    assert output.grad is not None
    return inputs[0, at].double().numpy(), output.grad[0, at].double().numpy()


def plain(backbone: Backbone, warm: Sequence[Edit], edits: Sequence[Edit], path: str) -> np.ndarray:
    """dW of the paper, transposed to [d_out, d_in]: statistics over all that was seen, these edits among it."""
    seen = [np.concatenate(signal(backbone, edit, path), 1) for edit in (*warm, *edits)]
    every, own = np.concatenate(seen), np.concatenate(seen[len(warm) :])
    normal = (own - every.mean(0)) / (every.std(0, ddof=1) + EPSILON)
    width = signal(backbone, edits[0], path)[0].shape[1]
    h, h_normal, g_normal = own[:, :width], normal[:, :width], normal[:, width:]
    values = -LR * (h_normal**2).sum(1, keepdims=True) * g_normal
    update: np.ndarray = np.linalg.solve(h.T @ h + np.eye(width), h.T @ values)
    return update.T


def error(mine: torch.Tensor, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(mine.double().numpy() - theirs) / np.linalg.norm(theirs))


def test_the_update_is_the_papers_by_hand() -> None:
    """h = 5 is two deviations of 2 above its mean 1, g = 3 three of 1: v = -0.1 * 2^2 * 3 = -1.2, dW = 5 v / (5^2 + 1)."""
    seen = Normalizer(5, torch.tensor([1.0, 0.0]).double(), torch.tensor([16.0, 4.0]).double())
    left, right = regress(Signal(torch.tensor([[5.0]]), torch.tensor([[3.0]])), seen, 0.1)
    assert float(left @ right) == pytest.approx(-6 / 26)


def test_the_normaliser_is_mean_and_deviation_of_all_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(23, 5, generator=generator) * torch.tensor([1.0, 10.0, 0.1, 3.0, 1e-3]) + 4
    one = Normalizer.empty(5, torch.device("cpu"))
    for chunk in rows.split([1, 9, 1, 12]):
        one = one.updated(chunk)
    assert one.count == 23
    assert torch.allclose(one.mean, rows.double().mean(0))
    assert torch.allclose(one.normalize(rows), (rows.double() - one.mean) / (rows.double().std(0) + EPSILON))
    again = from_tensors(as_tensors({"a.b": one, "c": Normalizer.empty(2, torch.device("cpu"))}))
    assert again.keys() == {"a.b", "c"} and again["a.b"].count == 23 and torch.equal(again["a.b"].squares, one.squares)


def test_one_row_has_no_deviation(llama: Backbone) -> None:
    one = Normalizer.empty(1, torch.device("cpu")).updated(torch.ones(1, 1))
    with pytest.raises(RequestError, match=r"has seen 1 answer token, .* ultraedit\.warmup"):
        one.normalize(torch.ones(1, 1))


def test_each_edit_is_that_of_a_plain_ultraedit(tiny: Backbone, training: list[Case]) -> None:
    warm = [case.edit for case in training[:20]]
    for edit, change in zip(EDITS, ultraedit(tiny, training).edit(tiny, EDITS), strict=True):
        deltas = change.deltas()
        assert deltas.keys() == {f"{path}.weight" for path in paths(tiny)}
        for path in paths(tiny):
            assert error(deltas[f"{path}.weight"], plain(tiny, warm, [edit], path)) < 1e-3
        assert {left.shape[1] for left, _ in change.factors.values()} == {len(encoded_answer(tiny, edit))}


def encoded_answer(backbone: Backbone, edit: Edit) -> tuple[int, ...]:
    return backbone.encode(edit.prompt, edit.target, edit.language).continuation_ids


def test_many_edits_are_one_regression(tiny: Backbone, training: list[Case]) -> None:
    warm = [case.edit for case in training[:20]]
    together = ultraedit(tiny, training).edit_together(tiny, EDITS).deltas()
    cold = ultraedit(tiny, warmup=0).edit_together(tiny, EDITS).deltas()
    for path in paths(tiny):
        assert error(together[f"{path}.weight"], plain(tiny, warm, EDITS, path)) < 1e-3
        assert error(cold[f"{path}.weight"], plain(tiny, [], EDITS, path)) < 1e-3


def test_a_sequence_carries_the_normalisers(llama: Backbone, training: list[Case]) -> None:
    """The second change is made to the edited model, by statistics of what the first saw of the untouched one."""
    editor = ultraedit(llama, training, warmup=0, lr=1e-2)
    first, past = editor.edit_after(llama, EDITS[:2], {})
    path = paths(llama)[0]
    rows = [np.concatenate(signal(llama, edit, path), 1) for edit in EDITS[:2]]
    with first.applied(llama):
        second, both = editor.edit_after(llama, EDITS[2:], past)
        rows.append(np.concatenate(signal(llama, EDITS[2], path), 1))
    every = np.concatenate(rows)
    assert both[f"{path}.count"] == len(every) and past[f"{path}.count"] == len(every) - len(rows[2])
    assert error(both[f"{path}.mean"], every.mean(0)) < 1e-4
    assert error(both[f"{path}.squares"], every.var(0) * len(every)) < 1e-3
    assert second.deltas()[f"{path}.weight"].any()
    again, _ = editor.edit_after(llama, EDITS[:2], {})
    assert all(torch.equal(delta, again.deltas()[name]) for name, delta in first.deltas().items())


def test_the_edit_makes_its_answer_likelier(tiny: Backbone, training: list[Case]) -> None:
    def loss(edit: Edit) -> float:
        text = tiny.encode(edit.prompt, edit.target, edit.language)
        with torch.no_grad():
            logits = tiny.model(torch.tensor([text.ids])).logits[0, text.prompt_end - 1 : -1]
        return float(F.cross_entropy(logits, torch.tensor(text.continuation_ids)))

    for edit, change in zip(EDITS, ultraedit(tiny, training, lr=1e-2).edit(tiny, EDITS), strict=True):
        before = loss(edit)
        with change.applied(tiny):
            assert loss(edit) < before


@pytest.mark.parametrize("name", ["9.down_proj", "1.q_proj", "down_proj", "-1.down_proj", ""])
def test_a_matrix_that_is_not_there_is_refused(llama: Backbone, name: str) -> None:
    with pytest.raises(RequestError, match=r"ultraedit\.matrices names .* layer from 0 to 5 .*\(.*down_proj\)"):
        xkeb.load_editor("ultraedit", matrices=(name,)).configure(llama.spec)


def test_other_bad_options_are_refused(llama: Backbone, training: list[Case]) -> None:
    with pytest.raises(RequestError, match=r"ultraedit\.matrices is empty"):
        xkeb.load_editor("ultraedit", matrices=()).configure(llama.spec)
    with pytest.raises(RequestError, match=r"ultraedit\.warmup is -1"):
        xkeb.load_editor("ultraedit", warmup=-1).configure(llama.spec)
    with pytest.raises(RequestError, match="call fit"):
        xkeb.load_editor("ultraedit").edit(llama, EDITS[:1])


def test_the_defaults_are_those_of_the_authors_for_mistral(llama: Backbone) -> None:
    editor = xkeb.load_editor("ultraedit").configure(llama.spec)
    assert isinstance(editor, UltraEdit)
    assert (editor.matrices, editor.lr, editor.warmup) == (("5.down_proj",), 1e-6, 100)  # 29 and 30 of 32, of six
    assert editor.needs_training() and not xkeb.load_editor("ultraedit", warmup=0).needs_training()
