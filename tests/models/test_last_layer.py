"""Final hidden states at some positions, against those of the whole pass."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from xkeb.estimation.meter import Meter
from xkeb.models.backbone import Backbone
from xkeb.models.batching import pad

TEXTS = (
    "Which city is the capital of France?",
    "请问，法国的首都是哪座城市？",
    "In short. It is well known, and has been for a hundred years or more, that the capital of Japan is Sapporo",
)
COLUMNS = ([[0], [3], [1]], [[4, 2, 4], [0, 1, 5], [3, 3, 3]])


def batch(backbone: Backbone) -> torch.Tensor:
    return pad([backbone.encode(text).ids for text in TEXTS], backbone.pad_id, backbone.device)


def some(hidden: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    return torch.stack([row[at] for row, at in zip(hidden, columns, strict=True)])


def flops(backbone: Backbone, ids: torch.Tensor, columns: torch.Tensor | None) -> float:
    with Meter() as meter:
        backbone.hidden(ids) if columns is None else backbone.hidden_at(ids, columns)
    return meter.work.flops


@torch.no_grad()
@pytest.mark.parametrize("columns", COLUMNS, ids=("one", "several"))
def test_it_gives_the_states_of_the_whole_pass(tiny: Backbone, columns: list[list[int]]) -> None:
    ids, at = batch(tiny), torch.tensor(columns)
    assert tiny.ends_early
    torch.testing.assert_close(tiny.hidden_at(ids, at), some(tiny.hidden(ids), at), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_beyond_a_sliding_window(tiny: Backbone) -> None:
    """Of 16 tokens in the one of the three that has one."""
    ids = torch.tensor([tiny.encode(TEXTS[2] + TEXTS[0]).ids])
    at = torch.tensor([[ids.shape[1] - 1, 17, 3]])
    assert ids.shape[1] > 20
    torch.testing.assert_close(tiny.hidden_at(ids, at), some(tiny.hidden(ids), at), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("start", [1, 3, 20])
def test_after_what_is_kept(tiny: Backbone, start: int) -> None:
    ids = torch.tensor([tiny.encode(TEXTS[2]).ids])
    at = torch.tensor([[ids.shape[1] - 1, start, start + 1]])
    past = tiny.new_cache()
    assert tiny.hidden_at(ids[:, :start], ids[:, :0], past).shape == (1, 0, tiny.layout.hidden_size)
    states = tiny.hidden_at(ids[:, start:], at - start, past)
    torch.testing.assert_close(states, some(tiny.hidden(ids), at), rtol=1e-5, atol=1e-5)
    assert past.get_seq_length() == ids.shape[1]


@torch.no_grad()
def test_behind_padding(tiny: Backbone) -> None:
    ids = [tiny.encode(text).ids for text in TEXTS[:2]]
    width = max(map(len, ids)) + 2
    row = torch.tensor([[tiny.pad_id] * (width - len(own)) + list(own) for own in ids])
    mask = torch.tensor([[0] * (width - len(own)) + [1] * len(own) for own in ids])
    at = torch.tensor([[width - 1, width - 3]] * 2)
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    states = tiny.hidden_at(row, at, attention_mask=mask, position_ids=positions)
    for own, found in zip(ids, states, strict=True):
        alone = tiny.hidden(torch.tensor([own]))[0]
        torch.testing.assert_close(found, alone[[-1, -3]], rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_the_whole_pass(tiny: Backbone) -> None:
    ids, at = batch(tiny), torch.tensor(COLUMNS[1])
    found = []
    for states in (lambda: tiny.hidden_at(ids, at), lambda: some(tiny.hidden(ids), at)):
        extra = torch.zeros(tiny.layout.hidden_size, requires_grad=True)
        below = tiny.module(tiny.layout.layer(tiny.n_layers - 2))
        handle = below.register_forward_hook(
            lambda _, __, output, extra=extra: (
                (output[0] + extra, *output[1:]) if isinstance(output, tuple) else output + extra
            )
        )
        try:
            made = states()
        finally:
            handle.remove()
        found.append(torch.autograd.grad((made * made.detach().roll(1, -1)).sum(), extra)[0])
    assert float(found[1].abs().max()) > 0
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_last_layer_does_less(tiny: Backbone) -> None:
    ids = batch(tiny)
    up, down = (tiny.parameter(f"{path}.weight") for path in (tiny.layout.ups(0)[0], tiny.layout.down(0)))
    mlp = 2 * (len(tiny.layout.ups(0)) * up.numel() + down.numel())
    spared = flops(tiny, ids, None) - flops(tiny, ids, torch.tensor(COLUMNS[0]))
    assert spared > mlp * (ids.numel() - 2 * len(ids))


@torch.no_grad()
def test_what_is_hooked_into_the_last_layer_sees_every_position(tiny: Backbone) -> None:
    ids, at = batch(tiny), torch.tensor(COLUMNS[0])
    seen: list[torch.Size] = []

    def double(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
        seen.append(output.shape)
        return output * torch.arange(output.shape[1]).unsqueeze(-1)  # counts on positions

    handle = tiny.module(tiny.layout.down(tiny.n_layers - 1)).register_forward_hook(double)
    try:
        found, expected = tiny.hidden_at(ids, at), some(tiny.hidden(ids), at)
    finally:
        handle.remove()
    assert torch.equal(found, expected)
    assert [shape[:2] for shape in seen] == [ids.shape, ids.shape]


class _WithTheOneBefore(nn.Module):
    """An MLP that looks at the token before, as layers with a short convolution do."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.mlp(hidden)
        return output + torch.cat([torch.zeros_like(output[:, :1]), output[:, :-1]], 1)


@torch.no_grad()
def test_a_family_whose_last_layer_mixes_tokens_in_other_ways_takes_the_whole_way(llama: Backbone) -> None:
    model = copy.deepcopy(llama.model)
    layer = model.get_submodule(llama.layout.layer(llama.n_layers - 1))
    layer.mlp = _WithTheOneBefore(layer.get_submodule("mlp"))
    other = Backbone("other", llama.model, llama.tokenizer, "0" * 64)
    other.model = model
    other.prepare()
    assert not other.ends_early
    ids, at = batch(other), torch.tensor(COLUMNS[0])
    assert torch.equal(other.hidden_at(ids, at), some(other.hidden(ids), at))
