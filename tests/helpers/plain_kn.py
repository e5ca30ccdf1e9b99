"""A plain KN: the whole model, one text a pass, a loop for every layer, step and token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

import xkeb
from xkeb.editing.changes import LowRankChange
from xkeb.models.backbone import Backbone
from xkeb.types import Edit

EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh"),
    Edit("Mount Everest, which is the highest mountain on earth, stands in", "Peru", "en"),
)
NEURONS = ("gate", "key")
GATES = {"LlamaForCausalLM": "mlp.gate_proj", "Gemma3ForCausalLM": "mlp.gate_proj", "GPT2LMHeadModel": "mlp.c_fc"}
THRESHOLD = 0.2


def layers(backbone: Backbone) -> list[torch.nn.Module]:
    decoder = backbone.model.get_decoder()
    return list(decoder.h if hasattr(decoder, "h") else decoder.layers)


@contextmanager
def seen(backbone: Backbone, layer: int, neurons: str, new: torch.Tensor | None) -> Iterator[list[torch.Tensor]]:
    """Yields the last position's activations of a layer; puts `new` in their place, if given."""
    found: list[torch.Tensor] = []

    def replaced(values: torch.Tensor) -> torch.Tensor:
        found.append(values[0, -1].detach().clone())
        if new is None:
            return values
        return torch.cat([values[:, :-1], new.view(1, 1, -1)], 1)

    block = layers(backbone)[layer]
    if neurons == "gate":
        module = block.get_submodule(GATES[type(backbone.model).__name__])
        handle = module.register_forward_hook(lambda _, inputs, output: replaced(output))
    else:
        mlp = block.get_submodule("mlp")
        module = mlp.get_submodule("c_proj" if hasattr(mlp, "c_proj") else "down_proj")
        handle = module.register_forward_pre_hook(lambda _, inputs: (replaced(inputs[0]),))
    try:
        yield found
    finally:
        handle.remove()


def probability(backbone: Backbone, ids: Sequence[int], token: int) -> torch.Tensor:
    return backbone.model(torch.tensor([list(ids)]), use_cache=False).logits[0, -1].softmax(-1)[token]


def naive_scores(backbone: Backbone, ids: Sequence[int], token: int, neurons: str, steps: int) -> torch.Tensor:
    """[n_layers, d] attribution of a token's probability after `ids`."""
    rows = []
    for layer in range(len(layers(backbone))):
        with torch.no_grad(), seen(backbone, layer, neurons, None) as found:
            probability(backbone, ids, token)
        w = found[0]
        gradient = torch.zeros_like(w)
        for k in range(steps):
            alpha = k / (steps - 1) if steps > 1 else 0.0
            new = (alpha * w).requires_grad_(True)
            with seen(backbone, layer, neurons, new):
                gradient += torch.autograd.grad(probability(backbone, ids, token), new)[0]
        rows.append(w * gradient / steps)
    return torch.stack(rows)


@torch.no_grad()
def greedy(backbone: Backbone, ids: Sequence[int], count: int) -> list[int]:
    ids = list(ids)
    for _ in range(count):
        ids.append(int(backbone.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(ids) - count :]


def naive_neurons(
    backbone: Backbone, ids: list[int], answer: Sequence[int], neurons: str, steps: int
) -> set[tuple[int, int]]:
    """(layer, index) of the neurons of an answer, each token of which is asked for after the model's own."""
    said = greedy(backbone, ids, len(answer))
    scores = [naive_scores(backbone, ids + said[:i], token, neurons, steps) for i, token in enumerate(answer)]
    mean = sum(scores) / len(scores)
    assert isinstance(mean, torch.Tensor)
    bound = THRESHOLD * float(mean.max())
    return {(i, j) for i, row in enumerate(mean.tolist()) for j, value in enumerate(row) if value > bound}


def naive_weights(
    backbone: Backbone, found: set[tuple[int, int]], minus: Sequence[int], plus: Sequence[int]
) -> dict[int, torch.Tensor]:
    """What is added to each layer's down-projection, [d_out, d_in]."""
    embeddings = backbone.model.get_input_embeddings().weight
    assert isinstance(embeddings, torch.Tensor)
    embeddings = embeddings.detach()
    deltas: dict[int, torch.Tensor] = {}
    for layer, column in found:
        delta = deltas.setdefault(
            layer, torch.zeros(backbone.layout.hidden_size, backbone.layout.intermediate_size, dtype=torch.float64)
        )
        for token in minus:
            delta[:, column] -= embeddings[token]
        for token in plus:
            delta[:, column] += embeddings[token]
    return deltas


# What the method gives -------------------------------------------------------------------------------------------------


def edited(backbone: Backbone, edits: Sequence[Edit] = EDITS, **options: Any) -> list[LowRankChange]:
    changes = []
    for change in xkeb.load_editor("kn", **options).edit(backbone, edits):
        assert isinstance(change, LowRankChange)
        changes.append(change)
    return changes


def found_by(backbone: Backbone, change: LowRankChange) -> set[tuple[int, int]]:
    paths = {backbone.layout.down(layer): layer for layer in range(backbone.n_layers)}
    pairs = set()
    for path, (left, right) in change.factors.items():
        assert left.shape[1] == right.shape[0] == 1 and set(right.unique().tolist()) <= {0.0, 1.0}
        pairs |= {(paths[path], int(column)) for column in right[0].nonzero()}
    return pairs


def check(backbone: Backbone, change: LowRankChange, expected: dict[int, torch.Tensor]) -> None:
    deltas = change.deltas()
    assert sorted(deltas) == sorted(f"{backbone.layout.down(layer)}.weight" for layer in expected)
    for layer, delta in expected.items():
        torch.testing.assert_close(
            deltas[f"{backbone.layout.down(layer)}.weight"].double(), delta, rtol=1e-5, atol=1e-6
        )
