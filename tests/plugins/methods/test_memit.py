"""MEMIT against a plain one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from plain_memit import (
    EDITS,
    LAYERS,
    TEMPLATES,
    Text,
    error,
    log_probs,
    memit,
    naive_updates,
    naive_values,
    read,
    same,
    states,
)

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.locate.covariance import questions
from xkeb_plugins.methods.locate.subject_states import SubjectStates

pytestmark = pytest.mark.usefixtures("fresh_cache")


def test_the_value_is_that_of_a_plain_memit(tiny: Backbone, training: list[Case]) -> None:
    found = memit(tiny, training).find_values(tiny, EDITS)
    for mine, naive in zip(found, naive_values(tiny), strict=True):
        assert mine.losses == pytest.approx(naive.losses, rel=1e-4)
        assert error(mine.old_value, naive.old) < 1e-5
        assert error(mine.new_value, naive.old + naive.delta) < 1e-4
        assert naive.delta.norm() > 0.1 * naive.old.norm()


def test_every_layer_is_that_of_a_plain_memit(tiny: Backbone, training: list[Case]) -> None:
    changes = memit(tiny, training).edit(tiny, EDITS)
    texts = questions(training)
    within = 1e-3 if tiny.layout.mlp_norm else 1e-4  # the search for the nearest point ends where gradients vanish
    for edit, change, naive in zip(EDITS, changes, naive_values(tiny), strict=True):
        same(change, tiny, naive_updates(tiny, [edit], [naive.move], texts), within)
        assert all(left.shape[1] == right.shape[0] == 1 for left, right in change.factors.values())


def test_many_edits_in_one_change_are_the_normal_equations_of_many_columns(
    tiny: Backbone, training: list[Case]
) -> None:
    change = memit(tiny, training).edit_together(tiny, EDITS)
    moves = [naive.move for naive in naive_values(tiny)]
    within = 1e-3 if tiny.layout.mlp_norm else 1e-4
    same(change, tiny, naive_updates(tiny, EDITS, moves, questions(training)), within)
    assert all(left.shape[1] == right.shape[0] == 3 for left, right in change.factors.values())


def test_a_batch_of_edits_is_each_of_them_alone(tiny: Backbone, training: list[Case]) -> None:
    editor = memit(tiny, training)
    for edit, change in zip(EDITS, editor.edit(tiny, EDITS), strict=True):
        (alone,) = editor.edit(tiny, [edit])
        for name, delta in alone.deltas().items():
            assert error(change.deltas()[name], delta) < 1e-4


def test_one_edit_together_is_that_edit(tiny: Backbone, training: list[Case]) -> None:
    editor = memit(tiny, training)
    (alone,) = editor.edit(tiny, EDITS[:1])
    together = editor.edit_together(tiny, EDITS[:1]).deltas()
    assert all(torch.equal(together[name], delta) for name, delta in alone.deltas().items())


def test_values_found_before_are_written_alike(llama: Backbone, training: list[Case]) -> None:
    """More edits than are optimised at once; some of them written."""
    editor = memit(llama, training, steps=3)
    edits = [dataclasses.replace(EDITS[i % 3], target=f"{EDITS[i % 3].target}{i}") for i in range(11)]
    found = editor.find_values(llama, edits)
    assert len(found) == 11
    change = editor.write_values(llama, edits[:9], found[:9]).deltas()
    for name, delta in editor.edit_together(llama, edits[:9]).deltas().items():
        assert error(change[name], delta) < 1e-4


def test_keys_are_means_inside_groups_and_then_of_groups(llama: Backbone) -> None:
    groups = (("",), TEMPLATES, ("Yes. ", "No. "))
    seen = SubjectStates(llama, EDITS, groups).measure(1, 2)
    for i, edit in enumerate(EDITS):
        means = [torch.stack([states(llama, read(llama, edit, p), 1)[0] for p in g]).mean(0) for g in groups]
        assert error(seen.keys[i], torch.stack(means).mean(0)) < 1e-5
        _, output, hidden = states(llama, read(llama, edit), 1)
        assert error(seen.outputs[i], output) < 1e-5
        assert error(seen.hidden[i], hidden) < 1e-5


def test_a_fact_that_is_known_changes_nothing(tiny: Backbone, training: list[Case]) -> None:
    editor = memit(tiny, training, stop_loss=1e9)
    for change in (*editor.edit(tiny, EDITS), editor.edit_together(tiny, EDITS)):
        assert len(change.factors) == len(LAYERS)
        assert all(not delta.any() for delta in change.deltas().values())


def test_the_edit_makes_its_answer_likelier(tiny: Backbone, training: list[Case]) -> None:
    editor = memit(tiny, training, steps=25, mom2_update_weight=0.1)
    for edit, change in zip(EDITS, editor.edit(tiny, EDITS), strict=True):
        assert all(torch.isfinite(delta).all() for delta in change.deltas().values())
        text, nothing = read(tiny, edit), torch.zeros(tiny.layout.hidden_size)

        def loss(text: Text = text, nothing: torch.Tensor = nothing) -> float:
            with torch.no_grad():
                probs = log_probs(tiny, text, tiny.layout.layer(0), nothing)
            return float(-torch.stack([probs[i - 1, text.ids[0, i]] for i in text.answer]).mean())

        before = loss()
        with change.applied(tiny):
            assert loss() < before - 0.02


def test_it_runs_in_bfloat16(tiny_folders: dict[str, Path], training: list[Case]) -> None:
    for family in ("llama", "gemma3"):
        path = str(tiny_folders[family])
        half = xkeb.load_backbone("hf", path=path, device="cpu", dtype="bfloat16")
        whole = xkeb.load_backbone("hf", path=path, device="cpu")
        mine, theirs = (memit(b, training).edit(b, EDITS[:2])[0].deltas() for b in (half, whole))
        for name, delta in mine.items():
            assert torch.isfinite(delta).all()
            assert torch.nn.functional.cosine_similarity(delta.ravel(), theirs[name].ravel(), dim=0) > 0.9
        assert all(torch.isfinite(d).all() for d in memit(half, training).edit_together(half, EDITS).deltas().values())
