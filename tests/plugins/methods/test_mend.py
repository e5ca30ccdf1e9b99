"""MEND against explicit gradients and plain loops."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_mend import answer_loss, divergence, edited_weights, random_networks

import xkeb
from xkeb.editing.training import TrainingError
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.layout import as_stored, widths
from xkeb.types import Case, Edit
from xkeb_plugins.methods.mend.editor import Mend
from xkeb_plugins.methods.mend.gradient import gradient_factors
from xkeb_plugins.methods.mend.network import GradientTransform, Hypernetworks, ResidualLayer, Shape
from xkeb_plugins.methods.mend.trainee import MendTrainee
from xkeb_plugins.methods.mend.updates import edited_paths, make_updates

SMALL: dict[str, Any] = {
    "rank": 6,
    "steps": 4,
    "validate_every": 2,
    "batch_size": 4,
    "validation": 3,
    "lr": 1e-3,
    "lr_lr": 1e-3,
}


@pytest.fixture(scope="module")
def facts() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh").training.cases)[:30]


@pytest.fixture(scope="module")
def edits() -> list[Edit]:
    return [case.edit for case in list(xkeb.load_task("bizsre_mini_zh2en"))[:3]]


def last_layers(backbone: Backbone) -> list[str]:
    layout = backbone.layout
    return [
        path
        for layer in range(backbone.n_layers - 3, backbone.n_layers)
        for path in (*layout.ups(layer), layout.down(layer))
    ]


def test_factors_are_the_gradient(tiny: Backbone, edits: Sequence[Edit]) -> None:
    """The sum over tokens of v u^T is what autograd gives for the matrix, each edit for itself though all share a batch."""
    paths = last_layers(tiny)
    texts = [tiny.encode(edit.prompt, edit.target, edit.language) for edit in edits]
    factors = gradient_factors(tiny, tiny.n_layers - 3, paths, texts)
    for edit, own in zip(edits, factors, strict=True):
        parameters = [tiny.parameter(f"{path}.weight") for path in paths]
        try:
            for parameter in parameters:
                parameter.requires_grad_(True)
            gradients = torch.autograd.grad(answer_loss(tiny, edit.prompt, edit.target, edit.language), parameters)
        finally:
            for parameter in parameters:
                parameter.requires_grad_(False)
        for path, (u, v), gradient in zip(paths, own, gradients, strict=True):
            expected = as_stored(tiny.module(path), gradient)
            assert torch.allclose(v.T @ u, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)


def test_untrained_networks_without_norm_descend(tiny: Backbone, edits: Sequence[Edit]) -> None:
    """They begin as the identity, so an edit is one step of gradient descent, and lowers its own loss."""
    editor = Mend(norm=False, rank=4, edit_lr=1e-2).configure(tiny.spec)
    with torch.no_grad():
        changes = make_updates(tiny, editor.untrained(tiny), editor.layers or (), edits)
    for edit, change in zip(edits, changes, strict=True):
        before = answer_loss(tiny, edit.prompt, edit.target, edit.language)
        with change.applied(tiny):
            assert answer_loss(tiny, edit.prompt, edit.target, edit.language) < before


def test_transform_against_the_formula() -> None:
    """Eq. 3, written out with loops, for both matrices that share a network."""
    torch.manual_seed(0)
    shape = Shape(rank=3, n_hidden=1, norm=True, combine=True)
    transform = GradientTransform(4, 2, 2, shape, torch.Generator().manual_seed(1))
    for parameter in transform.parameters():
        torch.nn.init.normal_(parameter)
    seen_u, seen_v = torch.randn(7, 4) * 3 + 1, torch.randn(7, 2)
    transform.observe(seen_u[:2], seen_v[:2])  # in two goes, as in training
    transform.observe(seen_u[2:], seen_v[2:])
    u, v = torch.randn(3, 4), torch.randn(3, 2)
    for mode in (0, 1):
        new_u, new_v = transform(u, v, mode)
        for row in range(3):
            z = torch.cat(
                [
                    (u[row] - seen_u.mean(0)) / (seen_u.std(0) + 1e-7),
                    (v[row] - seen_v.mean(0)) / (seen_v.std(0) + 1e-7),
                ]
            )
            (column,) = transform.columns
            assert isinstance(column, torch.nn.ModuleList)
            for layer in column:
                assert isinstance(layer, ResidualLayer)
                pre = layer.u @ (layer.v @ z) + layer.bias
                z = z + torch.relu(layer.scale[mode] * pre + layer.shift[mode])
            assert torch.allclose(torch.cat([new_u[row], new_v[row]]), z, atol=1e-5)


def naive_training_loss(backbone: Backbone, editor: Mend, networks: Hypernetworks, case: Case) -> torch.Tensor:
    """Algorithm 1 for one fact: edit, answer the rephrase, stay at the unrelated question."""
    edited = edited_weights(backbone, editor, networks, case.edit)
    rephrase, unrelated = case.probe("generality"), case.probe("locality")
    l_edit = answer_loss(backbone, rephrase.prompt, rephrase.reference, rephrase.language, edited)
    l_loc = divergence(backbone, unrelated.prompt, unrelated.reference, unrelated.language, edited)
    return editor.cedit * l_edit + editor.cloc * l_loc


@pytest.mark.parametrize("combine", [True, False])
def test_training_loss_and_its_gradient(tiny: Backbone, facts: list[Case], combine: bool) -> None:
    """A batch of row-by-row edits against one whole model after another, gradient with respect to the networks included."""
    editor = Mend(**SMALL, combine=combine, edit_lr=1e-2).configure(tiny.spec)
    networks = random_networks(editor, tiny)
    trainee = editor._trainee(tiny, networks)
    trainee.validate(facts[:4])  # takes the statistics
    loss, _ = trainee._losses(facts[:4], observe=False)
    expected = torch.stack([naive_training_loss(tiny, editor, networks, case) for case in facts[:4]]).mean()
    assert torch.allclose(loss, expected, rtol=1e-4)
    ours = torch.autograd.grad(loss, list(networks.parameters()), allow_unused=True)
    theirs = torch.autograd.grad(expected, list(networks.parameters()), allow_unused=True)
    for mine, naive in zip(ours, theirs, strict=True):
        assert mine is not None and naive is not None
        assert torch.allclose(mine, naive, rtol=1e-2, atol=1e-4 * float(naive.abs().max()))


def test_training_lowers_the_loss(llama: Backbone, facts: list[Case], fresh_cache: Path) -> None:
    editor = Mend(**{**SMALL, "steps": 20, "validate_every": 10})
    editor.fit(llama, facts)
    import json

    (log,) = (fresh_cache / "mend").glob("*.jsonl")
    losses = [json.loads(line)["loss"] for line in log.read_text().splitlines()]
    assert len(losses) == 3
    assert min(losses) < 0.97 * losses[0]


def test_resumes_to_the_same_networks(
    llama: Backbone, facts: list[Case], fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two checkpoints, it goes on from the first and ends where an uninterrupted training ends."""
    editor = Mend(**SMALL)
    editor.fit(llama, facts)
    whole = editor._networks
    assert whole is not None
    for path in (fresh_cache / "mend").iterdir():
        path.unlink()
    real, calls = MendTrainee.backward, []

    def dies(self: MendTrainee, cases: Sequence[Case]) -> object:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, cases)

    monkeypatch.setattr(MendTrainee, "backward", dies)
    again = Mend(**SMALL)
    with pytest.raises(KeyboardInterrupt):
        again.fit(llama, facts)
    again.fit(llama, facts)
    assert len(calls) == 6  # three, the one that died, and the last two again from the checkpoint of step 2
    assert again._networks is not None
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again._networks.state_dict()[name])
    assert not list((fresh_cache / "mend").glob("*.checkpoint"))


def test_a_foreign_artifact_is_never_used(llama: Backbone, facts: list[Case], fresh_cache: Path) -> None:
    Mend(**SMALL).fit(llama, facts)
    Mend(**SMALL).fit(llama, facts[:-1])
    Mend(**{**SMALL, "seed": 1}).fit(llama, facts)
    assert len(list((fresh_cache / "mend").glob("*.safetensors"))) == 3
    Mend(**SMALL).fit(llama, facts)
    assert len(list((fresh_cache / "mend").glob("*.safetensors"))) == 3


def test_edits_as_the_saved_networks_say(llama: Backbone, facts: list[Case], edits: list[Edit]) -> None:
    first, second = Mend(**SMALL), Mend(**SMALL)
    first.fit(llama, facts)
    second.fit(llama, facts)
    for a, b in zip(first.edit(llama, edits), second.edit(llama, edits), strict=True):
        for path, (left, right) in a.factors.items():
            assert torch.equal(left, b.factors[path][0]) and torch.equal(right, b.factors[path][1])


def test_no_step_no_change(llama: Backbone, facts: list[Case], edits: list[Edit]) -> None:
    """Step sizes of zero: nothing is added to any weight."""
    editor = Mend(**SMALL)
    editor.fit(llama, facts)
    assert editor._networks is not None
    editor._networks.step_sizes.data.zero_()
    for change in editor.edit(llama, edits):
        assert all(not bool(delta.any()) for delta in change.deltas().values())


def test_not_a_number(llama: Backbone, facts: list[Case], fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step, the value and the checkpoint are named, and the checkpoint is kept."""
    real, calls = MendTrainee.backward, []

    def spoilt(self: MendTrainee, cases: Sequence[Case]) -> object:
        calls.append(1)
        parts = dict(real(self, cases))
        if len(calls) == 3:
            next(self.module.parameters()).grad.fill_(float("nan"))  # type: ignore[union-attr]
        return parts

    monkeypatch.setattr(MendTrainee, "backward", spoilt)
    with pytest.raises(
        TrainingError, match=r"at step 3 its gradient is nan\. The checkpoint of step 2 is kept"
    ) as info:
        Mend(**SMALL).fit(llama, facts)
    (checkpoint,) = (fresh_cache / "mend").glob("*.checkpoint")
    assert str(checkpoint) in str(info.value)


def test_what_is_wrong_is_said(llama: Backbone, facts: list[Case], edits: list[Edit]) -> None:
    with pytest.raises(RequestError, match="call fit"):
        Mend().edit(llama, edits)
    with pytest.raises(RequestError, match="layers 0 to"):
        Mend(layers=(99,)).fit(llama, facts)
    with pytest.raises(RequestError, match="too few"):
        Mend(**SMALL).fit(llama, facts[:5])


def test_too_little_memory(llama: Backbone, facts: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xkeb.models.memory.free_memory", lambda device: 1000)
    with pytest.raises(RequestError, match=r"needs .* GB of memory .* mend\.rank=3"):
        Mend(**SMALL).fit(llama, facts)


def test_defaults_are_the_papers(llama: Backbone) -> None:
    editor = Mend().configure(llama.spec)
    assert editor.layers == (3, 4, 5)
    assert (editor.rank, editor.lr, editor.lr_lr, editor.edit_lr, editor.cedit, editor.cloc) == (
        1920,
        1e-6,
        1e-4,
        1e-4,
        0.1,
        1.0,
    )
    sizes = [widths(llama.module(path)) for path in edited_paths(llama, editor.layers or ())]
    assert sizes == [(32, 80), (32, 80), (80, 32)] * 3
    assert len(dataclasses.replace(editor, shared=False).untrained(llama).transforms) == 9
    assert len(editor.untrained(llama).transforms) == 2
