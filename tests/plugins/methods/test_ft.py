"""FT against a plain one written here: the whole model, torch's own Adam on the weight itself, one edit at a time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from plain_texts import error
from transformers.pytorch_utils import Conv1D

import xkeb
from xkeb.editing.changes import DenseChange
from xkeb.editing.editor import options_of
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.ft import FineTuning

LAYER = 2
LR = 5e-4
EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh"),
    Edit("Mount Everest, which is the highest mountain on earth, stands in", "Peru", "en"),
)
OBJECTIVES = {"prompt_last": "ft", "target_new": "ft-m"}
"""And the methods that have them."""
BOUND = 1.2e-3
"""Reached after three steps of `LR`."""


def naive(
    backbone: Backbone, edit: Edit, objective: str, steps: int, bound: float | None = None, stop_loss: float = 1e-2
) -> tuple[torch.Tensor, list[float]]:
    """What Adam adds to the weight, as [d_out, d_in], and the loss before each step."""
    model = copy.deepcopy(backbone.model)
    module = model.get_submodule(backbone.layout.down(LAYER))
    weight = model.get_parameter(f"{backbone.layout.down(LAYER)}.weight").requires_grad_(True)
    original = weight.detach().clone()
    optimizer = torch.optim.Adam([weight], lr=LR)
    question = edit.prompt + {"en": " ", "zh": ""}[edit.language]
    batch = backbone.tokenizer(question + edit.target, return_offsets_mapping=True)
    ids, offsets = batch["input_ids"], batch["offset_mapping"]
    prompt = len(edit.prompt)
    answer = [i for i, (start, end) in enumerate(offsets) if end > start and (start >= prompt or end > len(question))]
    losses: list[float] = []
    for _ in range(steps):
        optimizer.zero_grad()
        if objective == "prompt_last":
            log_probs = model(torch.tensor([ids[: answer[0]]])).logits[0, -1].log_softmax(-1)
            loss = -log_probs[[ids[i] for i in answer]].mean()
        else:
            log_probs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            loss = -torch.stack([log_probs[i - 1, ids[i]] for i in answer]).mean()
        losses.append(float(loss.detach()))
        if losses[-1] < stop_loss:
            break
        loss.backward()
        optimizer.step()
        if bound is not None:
            with torch.no_grad():
                weight.copy_(torch.minimum(torch.maximum(weight, original - bound), original + bound))
    delta = (weight - original).detach()
    return (delta.T if isinstance(module, Conv1D) else delta), losses


def tuned(
    backbone: Backbone, edits: Sequence[Edit] = EDITS, objective: str = "prompt_last", **options: Any
) -> list[torch.Tensor]:
    method = "ft-l" if "norm_constraint" in options else OBJECTIVES[objective]
    editor = xkeb.load_editor(method, **{"layer": LAYER, "lr": LR, **options})
    deltas: list[torch.Tensor] = []
    for change in editor.edit(backbone, edits):
        assert isinstance(change, DenseChange)
        assert list(change.deltas()) == [f"{backbone.layout.down(LAYER)}.weight"]
        deltas += change.deltas().values()
    return deltas


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("steps", [1, 5, 25])
def test_it_is_adam_on_the_weight_itself(tiny: Backbone, steps: int, objective: str) -> None:
    deltas = tuned(tiny, steps=steps, objective=objective)
    for edit, delta in zip(EDITS, deltas, strict=True):
        expected, losses = naive(tiny, edit, objective, steps)
        assert len(losses) == steps and (steps == 1 or losses[-1] < losses[0])
        assert delta.shape == expected.shape == (tiny.layout.hidden_size, tiny.layout.intermediate_size)
        assert error(delta, expected) < 1e-3


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_batch_of_edits_is_each_of_them_alone(tiny: Backbone, objective: str) -> None:
    batch = tuned(tiny, objective=objective)
    for edit, delta in zip(EDITS, batch, strict=True):
        (alone,) = tuned(tiny, [edit], objective=objective)
        assert error(delta, alone) < 1e-3


@pytest.mark.parametrize("steps", [1, 5, 25])
def test_ft_l_is_adam_on_the_weight_itself_projected_on_the_bound(tiny: Backbone, steps: int) -> None:
    for edit, delta in zip(EDITS, tuned(tiny, steps=steps, norm_constraint=BOUND), strict=True):
        expected, losses = naive(tiny, edit, "prompt_last", steps, BOUND)
        assert len(losses) == steps and (steps == 1 or losses[-1] < losses[0])
        assert error(delta, expected) < 1e-3


def test_the_bound_holds_for_every_weight(tiny: Backbone) -> None:
    free = tuned(tiny)
    bounded = tuned(tiny, norm_constraint=BOUND)
    for loose, tight in zip(free, bounded, strict=True):
        assert float(loose.abs().max()) > BOUND
        assert float(tight.abs().max()) == pytest.approx(BOUND)
        assert float((tight.abs() >= BOUND * 0.999).float().mean()) > 0.05


def test_ft_l_has_the_bound_of_the_reference(llama: Backbone) -> None:
    given = {"layer": 4, "steps": 25, "lr": 5e-4, "stop_loss": 1e-2, "norm_constraint": 5e-5}
    assert options_of(xkeb.load_editor("ft-l").configure(llama.spec)) == given
    for bound in (0, -1e-3, None):
        with pytest.raises(RequestError, match="Option 'norm_constraint' of method 'ft-l' can't be"):
            xkeb.load_editor("ft-l", norm_constraint=bound)
    for method in OBJECTIVES.values():
        with pytest.raises(RequestError, match=f"Unknown option of method '{method}': 'norm_constraint'"):
            xkeb.load_editor(method, norm_constraint=1e-3)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_fact_that_is_known_already_changes_nothing(tiny: Backbone, objective: str) -> None:
    """Known to one edit of the batch, and not to the others, which go on as they would alone."""
    first = [naive(tiny, edit, objective, 1)[1][0] for edit in EDITS]
    known = min(range(len(EDITS)), key=first.__getitem__)
    stop = sum(sorted(first)[:2]) / 2
    deltas = tuned(tiny, objective=objective, steps=5, stop_loss=stop)
    for i, delta in enumerate(deltas):
        if i == known:
            assert not delta.any()
        else:
            expected, _ = naive(tiny, EDITS[i], objective, 5, stop_loss=stop)
            assert error(delta, expected) < 1e-3
    assert not any(delta.any() for delta in tuned(tiny, objective=objective, stop_loss=max(first) + 1))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_step_is_taken_below_the_bound_of_the_loss(tiny: Backbone, objective: str) -> None:
    """Each edit of a batch stops by itself; what Adam remembers moves it no further."""
    runs = [naive(tiny, edit, objective, 8) for edit in EDITS]
    for which, (_, losses) in enumerate(runs):
        stop = (losses[3] + losses[4]) / 2
        assert losses[3] > stop > losses[4]
        deltas = tuned(tiny, objective=objective, steps=25, stop_loss=stop)
        expected, seen = naive(tiny, EDITS[which], objective, 25, stop_loss=stop)
        assert len(seen) == 5  # the fifth look at the loss is the last, after four steps
        assert error(deltas[which], expected) < 1e-3
        for edit, delta in zip(EDITS, deltas, strict=True):
            theirs, _ = naive(tiny, edit, objective, 25, stop_loss=stop)
            assert error(delta, theirs) < 1e-3 if theirs.any() else not delta.any()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_change_lowers_the_loss_that_it_was_made_for(tiny: Backbone, objective: str) -> None:
    editor = xkeb.load_editor(OBJECTIVES[objective], layer=LAYER, lr=5e-3)
    for edit, change in zip(EDITS, editor.edit(tiny, EDITS), strict=True):
        before = naive(tiny, edit, objective, 1)[1][0]
        with change.applied(tiny):
            after = naive(tiny, edit, objective, 1)[1][0]
        assert after < before - 0.5


def test_no_steps_are_refused() -> None:
    with pytest.raises(RequestError, match="Option 'steps' of method 'ft' can't be 0: Input should be greater than 0"):
        xkeb.load_editor("ft", steps=0)


def test_the_default_layer_stands_as_deep_as_the_papers(llama: Backbone, gemma: Backbone) -> None:
    for method, backbone, layer in (("ft", llama, 4), ("ft-l", gemma, 12)):  # 21 of 32, of 6 and of 18
        editor = xkeb.load_editor(method).configure(backbone.spec)
        assert isinstance(editor, FineTuning) and editor.layer == layer


@pytest.mark.parametrize("layer", [-1, 6])
def test_a_layer_that_is_not_there_is_refused(llama: Backbone, layer: int) -> None:
    with pytest.raises(RequestError, match=rf"ft\.layer is {layer}; .* layers 0 to 5"):
        xkeb.load_editor("ft", layer=layer).edit(llama, EDITS[:1])


def test_ft_and_ft_m_have_the_options_of_the_reference(llama: Backbone) -> None:
    for method in OBJECTIVES.values():
        editor = xkeb.load_editor(method).configure(llama.spec)
        assert options_of(editor) == {"layer": 4, "steps": 25, "lr": 5e-4, "stop_loss": 1e-2}
        with pytest.raises(RequestError, match=rf"{method}\.layer is 6; .* layers 0 to 5"):
            xkeb.load_editor(method, layer=6).configure(llama.spec)
        with pytest.raises(RequestError, match=f"Unknown option of method '{method}': 'objective'"):
            xkeb.load_editor(method, objective="target_new")
