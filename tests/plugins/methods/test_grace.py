"""GRACE: its codebook by hand, and its values against a plain one written here: the whole model, one edit at a time."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_texts import EDITS, error, ids_of

import xkeb
from xkeb.editing.changes import batched, load_change
from xkeb.editing.editor import options_of
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.grace.change import CodebookChange
from xkeb_plugins.methods.grace.codebook import Codebook
from xkeb_plugins.methods.grace.editor import Grace

LAYER, RADIUS = 2, 1e-3
"""A radius in which the last token of a prompt is alone."""


def grace(**options: Any) -> Grace:
    editor = xkeb.load_editor("grace", **{"layer": LAYER, "radius": RADIUS, "steps": 5, "lr": 0.1, **options})
    assert isinstance(editor, Grace)
    return editor


def plain(
    backbone: Backbone, edit: Edit, steps: int = 5, init: str = "cold", seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    """Key and value of the prompt's last token, by replacing what leaves the module there and nowhere else; and the losses."""
    model: Any = copy.deepcopy(backbone.model)
    module = model.get_submodule(backbone.layout.down(LAYER))
    ids, answer = ids_of(backbone, edit)
    at = answer[0] - 1
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    handle = module.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0][0, at], output[0, at])))
    model(ids)
    handle.remove()
    key, output = (each.detach().clone() for each in seen[0])
    cold = torch.rand(output.shape, generator=torch.Generator().manual_seed(seed))
    value = (cold if init == "cold" else output).requires_grad_(True)

    def at_the_prompt_s_end(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        return torch.cat([output[:, :at], value.expand(1, 1, -1), output[:, at + 1 :]], 1)

    module.register_forward_hook(at_the_prompt_s_end)
    optimizer = torch.optim.Adam([value], lr=0.1)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        chances = model(ids).logits[0].log_softmax(-1)
        loss = -torch.stack([chances[i - 1, ids[0, i]] for i in answer]).mean()
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
    return key, value.detach(), losses


def loss_of(backbone: Backbone, edit: Edit) -> float:
    ids, answer = ids_of(backbone, edit)
    with torch.no_grad():
        chances = backbone.model(ids).logits[0].log_softmax(-1)
    return -float(torch.stack([chances[i - 1, ids[0, i]] for i in answer]).mean())


@pytest.mark.parametrize("init", ["cold", "warm"])
@pytest.mark.parametrize("steps", [1, 10])
def test_each_value_is_that_of_a_plain_grace(tiny: Backbone, steps: int, init: str) -> None:
    for edit, change in zip(EDITS, grace(steps=steps, init=init).edit(tiny, EDITS), strict=True):
        key, value, losses = plain(tiny, edit, steps, init)
        book = change.codebook
        assert len(book) == 1 and book.radii.tolist() == pytest.approx([RADIUS])
        assert error(book.keys[0], key) < 1e-5 and error(book.values[0], value) < 1e-3
        assert steps == 1 or losses[-1] < losses[0]
        with change.applied(tiny):  # in the very scope that it was trained for
            assert loss_of(tiny, edit) < losses[-1]


def test_where_no_token_is_in_scope_every_bit_is_as_before(tiny: Backbone) -> None:
    (change,) = grace().edit(tiny, EDITS[:1])
    other, own = (torch.tensor([tiny.encode(edit.prompt).ids]) for edit in (EDITS[2], EDITS[0]))
    with torch.no_grad():
        before = tiny.hidden(other), tiny.hidden(own)
        with change.applied(tiny):
            inside = tiny.hidden(other), tiny.hidden(own)
        after = tiny.hidden(own)
    assert torch.equal(before[0], inside[0]) and torch.equal(before[1], after)
    last = tiny.encode(EDITS[0].prompt, EDITS[0].target, "en").prompt_end - 1
    assert torch.equal(before[1][:, :last], inside[1][:, :last]) and not torch.equal(
        before[1][:, last], inside[1][:, last]
    )


# The codebook -----------------------------------------------------------------------------------------------------------


def book(*entries: tuple[float, float, float, int]) -> Codebook:
    """Of one dimension: key, value, radius, and the one id of the answer."""
    keys, values, radii, answers = zip(*entries, strict=True)
    return Codebook(
        torch.tensor(keys)[:, None], torch.tensor(values)[:, None], torch.tensor(radii), tuple((i,) for i in answers)
    )


def placed(before: Codebook, key: float, answer: int) -> tuple[Any, list[float], Any, int]:
    after, entry = before.placed(torch.tensor([key]), torch.tensor([9.0]), (answer,), 1.0)
    return (
        pytest.approx(after.keys[:, 0].tolist()),
        after.values[:, 0].tolist(),
        pytest.approx(after.radii.tolist(), abs=1e-6),
        entry,
    )


def test_the_nearest_entry_decides_and_its_radius_says_whether() -> None:
    """At 3 the key 2 is nearest, and too far; that 10 would reach so far doesn't count."""
    codes = book((2.0, 20.0, 0.5, 1), (10.0, 100.0, 8.0, 2))
    inputs = torch.tensor([[[1.5], [2.5], [2.6], [3.0], [7.0], [19.0]]])
    outputs = codes.look_up(inputs, torch.zeros(1, 6, 1))
    assert outputs[0, :, 0].tolist() == [20.0, 20.0, 0.0, 0.0, 100.0, 0.0]


def test_an_edit_is_added_or_splits_or_grows_an_entry() -> None:
    one = book((0.0, 5.0, 1.0, 1))
    assert placed(one, 2.5, 2) == ([0.0, 2.5], [5.0, 9.0], [1.0, 1.0], 1)  # farther than both radii
    assert placed(one, 1.6, 2) == ([0.0, 1.6], [5.0, 9.0], [0.8 - 1e-5, 0.8], 1)  # nearer, with another answer
    assert placed(one, 1.6, 1) == ([0.0], [5.0], [1.6], 0)  # with the same answer
    assert placed(one, 0.4, 1) == ([0.0], [5.0], [1.0], 0)  # which never shrinks
    assert placed(one, 0.0, 2) == ([0.0], [9.0], [1.0], 0)  # the same question, corrected
    assert one.radii.tolist() == [1.0] and one.answers == ((1,),)


# Sequences --------------------------------------------------------------------------------------------------------------


def test_a_codebook_goes_through_a_sequence(tiny: Backbone, tmp_path: Path) -> None:
    """Far from one another, its entries are those of single edits, each started from a seed of its own."""
    editor = grace()
    session = editor.begin(tiny)
    session.edit(EDITS[:2])
    change = session.edit(EDITS[2:])
    assert isinstance(change, CodebookChange)
    codes = change.codebook
    assert len(codes) == 3
    for n, edit in enumerate(EDITS):
        key, value, losses = plain(tiny, edit, seed=n)
        assert error(codes.keys[n], key) < 1e-5 and error(codes.values[n], value) < 1e-3
        with change.applied(tiny):
            assert loss_of(tiny, edit) < losses[-1]
    at_once, _ = editor.edit_after(tiny, EDITS, {})
    change.save(tmp_path / "change")
    loaded = load_change(tmp_path / "change")
    halfway = editor.begin(tiny)
    halfway.edit(EDITS[:2])
    halfway.save(tmp_path / "session")
    later = editor.begin(tiny)
    later.load(tmp_path / "session")
    resumed = later.edit(EDITS[2:])
    assert isinstance(resumed, CodebookChange)
    assert isinstance(loaded, CodebookChange)
    for other in (loaded, at_once, resumed):
        assert other.path == change.path and other.codebook.answers == codes.answers
        assert all(
            torch.equal(getattr(other.codebook, name), getattr(codes, name)) for name in ("keys", "values", "radii")
        )


def test_a_corrected_edit_has_the_new_answer(tiny: Backbone) -> None:
    editor = grace()
    _, past = editor.edit_after(tiny, EDITS[:1], {})
    corrected = Edit(EDITS[0].prompt, "Kyoto", "en")
    codes = editor.edit_after(tiny, [corrected], past)[0].codebook
    assert len(codes) == 1 and error(codes.values[0], plain(tiny, corrected, seed=1)[1]) < 1e-3


def test_changes_at_different_layers_are_not_batched(llama: Backbone) -> None:
    changes = [grace(layer=layer, steps=1).edit(llama, EDITS[:1])[0] for layer in (1, 2)]
    assert batched(llama, changes) is None and batched(llama, changes[:1]) is not None


def test_bad_options_are_refused(llama: Backbone) -> None:
    with pytest.raises(RequestError, match=r"grace\.radius is 0.*; a distance above 0"):
        grace(radius=0.0).configure(llama.spec)
    with pytest.raises(RequestError, match=r"grace\.layer is 6; .* layers 0 to 5"):
        grace(layer=6).configure(llama.spec)
    given = {"layer": 5, "radius": 1.0, "steps": 50, "lr": 1.0, "init": "cold", "seed": 0}  # 27 of 32, of 6
    assert options_of(xkeb.load_editor("grace").configure(llama.spec)) == given
