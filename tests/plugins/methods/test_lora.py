"""LoRA against a plain one written here, the whole model and one edit at a time, and against the peft library."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from transformers.pytorch_utils import Conv1D

import xkeb
from xkeb.editing.changes import LowRankChange
from xkeb.editing.editor import options_of
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.lora import LoRA

EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh"),
    Edit("Mount Everest, which is the highest mountain on earth, stands in", "Peru", "en"),
)
RANK, ALPHA, LR = 3, 12.0, 5e-3


def lora(**options: Any) -> LoRA:
    editor = xkeb.load_editor("lora", **{"rank": RANK, "alpha": ALPHA, "lr": LR, "dropout": 0.0, "steps": 5, **options})
    assert isinstance(editor, LoRA)
    return editor


def changed(backbone: Backbone) -> list[str]:
    """Paths of the projections of queries and values, in the order in which a pass comes through them."""
    names = (
        ("attn.c_attn",) if backbone.layout.down_proj.endswith("c_proj") else ("self_attn.q_proj", "self_attn.v_proj")
    )
    return [f"{backbone.layout.layer(layer)}.{name}" for layer in range(backbone.n_layers) for name in names]


def text(backbone: Backbone, edit: Edit) -> tuple[torch.Tensor, list[int]]:
    """Ids of question and answer, [1, T], and the answer's positions."""
    question = edit.prompt + {"en": " ", "zh": ""}[edit.language]
    batch = backbone.tokenizer(question + edit.target, return_offsets_mapping=True)
    spans = list(enumerate(batch["offset_mapping"]))
    answer = [i for i, (start, end) in spans if end > start and (start >= len(edit.prompt) or end > len(question))]
    return torch.tensor([batch["input_ids"]]), answer


def starts(backbone: Backbone, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """The down factors, uniform in both directions up to 1 / sqrt(d_in)."""
    found = {}
    for path in changed(backbone):
        weight = backbone.parameter(f"{path}.weight")
        d_in = weight.shape[0 if isinstance(backbone.module(path), Conv1D) else 1]
        found[path] = (torch.rand(RANK, d_in, generator=generator) - 0.5) * 2 / math.sqrt(d_in)
    return found


def plain(
    backbone: Backbone, edit: Edit, steps: int, dropout: float = 0.0
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """What is added to each matrix, as [d_out, d_in], and the loss before each step."""
    model = copy.deepcopy(backbone.model)
    generator = torch.Generator().manual_seed(0)
    downs = starts(backbone, generator)
    ups = {}
    for path, down in downs.items():
        weight = model.get_parameter(f"{path}.weight")
        ups[path] = torch.zeros(weight.numel() // down.shape[1], RANK, requires_grad=True)
        down.requires_grad_(True)

        def add(_: Any, inputs: Any, output: torch.Tensor, path: str = path) -> torch.Tensor:
            kept = inputs[0]
            if dropout:
                drawn = torch.rand(kept.shape[1:], generator=generator)
                kept = torch.where(drawn < dropout, 0.0, kept / (1 - dropout))
            return output + kept @ (ALPHA / RANK * ups[path] @ downs[path]).T

        model.get_submodule(path).register_forward_hook(add)
    optimizer = torch.optim.Adam([*ups.values(), *downs.values()], lr=LR)
    ids, answer = text(backbone, edit)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        chances = model(ids[:, :-1]).logits[0].log_softmax(-1)
        loss = -torch.stack([chances[i - 1, ids[0, i]] for i in answer]).mean()
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
    return {f"{path}.weight": (ALPHA / RANK * ups[path] @ downs[path]).detach() for path in ups}, losses


def error(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """Norm of the difference over all matrices. Adam's first step is as long for a gradient that is rounding noise."""
    assert mine.keys() == theirs.keys()
    difference = sum(float((mine[name] - theirs[name]).pow(2).sum()) for name in mine)
    return math.sqrt(difference / sum(float(theirs[name].pow(2).sum()) for name in mine))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("steps", [1, 5])
def test_each_edit_is_that_of_a_plain_lora(tiny: Backbone, steps: int, dropout: float) -> None:
    for edit, change in zip(EDITS, lora(steps=steps, dropout=dropout).edit(tiny, EDITS), strict=True):
        expected, losses = plain(tiny, edit, steps, dropout)
        assert error(change.deltas(), expected) < 1e-3
        assert {left.shape[1] for left, _ in change.factors.values()} == {RANK}
        assert steps == 1 or dropout or losses[-1] < losses[0]


def test_an_edit_among_others_is_the_edit_alone(tiny: Backbone) -> None:
    for edit, change in zip(EDITS, lora(dropout=0.3).edit(tiny, EDITS), strict=True):
        (alone,) = lora(dropout=0.3).edit(tiny, [edit])
        assert error(change.deltas(), alone.deltas()) < 1e-3


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks for it
def test_it_is_what_peft_trains(tiny: Backbone) -> None:
    """peft's own modules, from the same factors."""
    peft = pytest.importorskip("peft")
    (change,) = lora().edit(tiny, EDITS[:1])
    names = sorted({path.rpartition(".")[2] for path in changed(tiny)})
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=0.0,
        target_modules=names,
        fan_in_fan_out=names == ["c_attn"],
    )
    model = peft.get_peft_model(copy.deepcopy(tiny.model), config)
    downs = starts(tiny, torch.Generator().manual_seed(0))
    base = model.get_base_model()
    with torch.no_grad():
        for path, down in downs.items():
            base.get_submodule(path).lora_A["default"].weight.copy_(down)
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=LR)
    ids, answer = text(tiny, EDITS[0])
    labels = torch.full_like(ids, -100)
    labels[0, answer] = ids[0, answer]
    for _ in range(5):
        optimizer.zero_grad()
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
    theirs = {f"{path}.weight": base.get_submodule(path).get_delta_weight("default").detach() for path in downs}
    if names == ["c_attn"]:  # stored the other way round
        theirs = {name: delta.T for name, delta in theirs.items()}
    assert error(change.deltas(), theirs) < 1e-3


def test_only_the_chosen_projections_of_the_chosen_layers_change(tiny: Backbone) -> None:
    name = tiny.layout.down_proj.rpartition(".")[2]
    editor = lora(targets=(tiny.layout.up_proj[0].rpartition(".")[2],), layers=(1, 3))
    (change,) = editor.edit(tiny, EDITS[:1])
    up = tiny.layout.up_proj[0]
    assert set(change.factors) == {f"{tiny.layout.layer(layer)}.{up}" for layer in (1, 3)}
    with pytest.raises(RequestError, match=rf"lora\.targets is \['q_projection'\]; .*{name}"):
        lora(targets=("q_projection",)).configure(tiny.spec)
    with pytest.raises(RequestError, match=r"lora\.targets is \[\]"):
        lora(targets=()).configure(tiny.spec)


@pytest.mark.parametrize("layers", [(), (6,), (-1, 2)])
def test_layers_that_are_not_there_are_refused(llama: Backbone, layers: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match=r"lora\.layers is \[.*\]; .* layers 0 to 5"):
        lora(layers=layers).configure(llama.spec)


def test_the_defaults_are_those_of_the_reference(llama: Backbone) -> None:
    assert options_of(xkeb.load_editor("lora").configure(llama.spec)) == {
        "targets": ("q_proj", "v_proj"),
        "layers": (0, 1, 2, 3, 4, 5),
        "rank": 8,
        "alpha": 32.0,
        "steps": 60,
        "lr": 5e-3,
        "dropout": 0.1,
        "seed": 0,
    }


def test_another_seed_gives_another_change(llama: Backbone) -> None:
    (one,), (other,) = (lora(seed=seed).edit(llama, EDITS[:1]) for seed in (0, 1))
    assert error(one.deltas(), other.deltas()) > 0.1


def test_the_change_lowers_the_loss_that_it_was_made_for(tiny: Backbone) -> None:
    for edit, change in zip(EDITS, lora(steps=20).edit(tiny, EDITS), strict=True):
        assert isinstance(change, LowRankChange)
        before = plain(tiny, edit, 1)[1][0]
        with change.applied(tiny):
            assert plain(tiny, edit, 1)[1][0] < before - 0.5


def test_an_attention_of_unknown_names_needs_targets(llama: Backbone) -> None:
    layout = dataclasses.replace(llama.layout, mixers=("mixer.in_proj", "mixer.out_proj"))
    spec = dataclasses.replace(llama.spec, layout=layout)
    with pytest.raises(
        RequestError, match=r"give lora\.targets some of in_proj, out_proj, gate_proj, up_proj, down_proj"
    ):
        lora().configure(spec)
    assert lora(targets=("in_proj",)).configure(spec).targets == ("in_proj",)
