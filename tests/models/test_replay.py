"""Modules that answer from memory, against the same layer made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from xkeb.estimation.meter import Meter
from xkeb.models.backbone import Backbone
from xkeb.models.replay import Replay
from xkeb.models.suffix import SuffixForward

TEXTS = ("Which city is the capital of France?", "日本的首都是哪里？", "In short. It is well known that Why")
LAYER = 1


def rows_of(backbone: Backbone) -> list[tuple[int, ...]]:
    return [backbone.encode(text).ids for text in TEXTS]


def passed(
    backbone: Backbone, suffix: SuffixForward, module: nn.Module, rows: torch.Tensor | None
) -> list[torch.Tensor]:
    """Final states under a change of what leaves `module`, and their gradient."""
    extra = torch.linspace(-1, 1, backbone.layout.hidden_size).requires_grad_()

    def add(_: Any, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (output[0] + extra, *output[1:])
        return output + extra

    handle = module.register_forward_hook(add)
    try:
        states = suffix.run(rows)
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(states.square().sum(), extra)
    return [states.detach(), gradient]


@pytest.mark.parametrize("place", ["down", "layer"])
@pytest.mark.parametrize("rows", [None, [2, 0]], ids=("all", "some"))
@pytest.mark.parametrize("sites", [None, (2, 1, 4)], ids=("whole", "sites"))
def test_a_pass_from_memory_is_the_pass(tiny: Backbone, place: str, rows: Any, sites: Any) -> None:
    path = tiny.layout.down(LAYER) if place == "down" else tiny.layout.layer(LAYER)
    chosen = None if rows is None else torch.tensor(rows)
    found = []
    for changed in (path, None):
        suffix = SuffixForward(tiny, LAYER, rows_of(tiny), sites, changed=changed)
        found.append([passed(tiny, suffix, tiny.module(path), chosen) for _ in range(2)])
    for one, other in zip(found[0], found[1], strict=True):  # the second pass from memory as well as the first
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_all_rows_from_memory_are_the_same_to_the_bit(tiny: Backbone) -> None:
    path = tiny.layout.down(LAYER)
    remembering, plain = (SuffixForward(tiny, LAYER, rows_of(tiny), changed=changed) for changed in (path, None))
    with torch.no_grad():
        assert torch.equal(remembering.run(), plain.run())


@torch.no_grad()
def test_nothing_of_the_layer_is_made_again(tiny: Backbone) -> None:
    """But for what stands between its modules."""
    work: list[float] = []
    for layer, changed in ((LAYER, tiny.layout.down(LAYER)), (LAYER + 1, None)):
        suffix = SuffixForward(tiny, layer, rows_of(tiny), changed=changed)
        with Meter() as meter:
            suffix.run()
        work.append(meter.work.flops)
    assert work[0] == work[1]


@torch.no_grad()
def test_it_says_what_stood_at_the_sites(tiny: Backbone) -> None:
    sites, path = (2, 1, 4), tiny.layout.down(LAYER)
    suffix = SuffixForward(tiny, LAYER, rows_of(tiny), sites, changed=path)
    assert suffix.changed is not None
    for row, ids in enumerate(rows_of(tiny)):
        states: list[torch.Tensor] = []
        handle = tiny.module(path).register_forward_hook(
            lambda _, inputs, output, states=states: states.extend((inputs[0], output))
        )
        try:
            tiny.hidden(torch.tensor([ids]))
        finally:
            handle.remove()
        for found, state in zip(suffix.changed, states, strict=True):
            torch.testing.assert_close(found[row], state[0, sites[row]], rtol=1e-4, atol=1e-4)


class _Layer(nn.Module):
    def __init__(self, use: Callable[[_Layer, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 3)
        self.use = use

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.use(self, hidden)


@torch.no_grad()
@pytest.mark.parametrize(
    ("use", "kept"),
    [
        (lambda layer, hidden: layer.last(layer.first(hidden) + 1), {"first", "last"}),
        (lambda layer, hidden: layer.last(layer.first(hidden).add_(1)), {"last"}),  # written into
        (lambda layer, hidden: layer.last(layer.first(layer.first(hidden))), {"last"}),  # called twice
        (
            lambda layer, hidden: layer.last(layer.first(hidden.flatten(0, 1)).view_as(hidden)),
            {"last"},
        ),  # laid in one row
        (lambda layer, hidden: layer.first(layer.last(hidden)), {"last"}),  # after the change
    ],
    ids=("plain", "in_place", "twice", "flat", "after"),
)
def test_what_can_be_given_again(use: Any, kept: set[str]) -> None:
    layer, hidden = _Layer(use), torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    replay = Replay(layer, layer.last)
    with replay.recorded():
        expected = layer(hidden)
    replay.check(hidden.shape[:2])
    names = {module: name for name, module in layer.named_modules()}
    assert {names[module] for module in replay.outputs} == kept
    for _ in range(2):
        with replay.answering(lambda output: output):
            assert torch.equal(layer(hidden), expected)
    assert "forward" not in vars(layer.first)
