"""The upper part of a forward pass, against the model's own whole one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from xkeb.models.backbone import Backbone
from xkeb.models.suffix import SuffixForward

Hook = Callable[[Any, Any, torch.Tensor], torch.Tensor]

TEXTS = (
    "Which city is the capital of France?",
    "请问，法国的首都是哪座城市？",
    "In short. It is well known, and has been for a hundred years or more, that the capital of Japan is Sapporo",
    "Why",
    "今天天气很好，我们去公园。日本的首都是哪里？它在四大岛中的哪一座岛上？" * 2,
)
SITES = ((0, 0, 0, 0, 0), (3, 1, 5, 0, 2), (4, 6, 40, 1, 60), (1, 0, 60, 1, 20))
LAYERS = (0, 1, 3)


@pytest.fixture(params=LAYERS, ids=lambda layer: f"layer{layer}")
def layer(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(params=SITES, ids=lambda sites: "-".join(map(str, sites)))
def sites(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return request.param


def rows_of(backbone: Backbone) -> list[tuple[int, ...]]:
    return [backbone.encode(text).ids for text in TEXTS]


def whole(backbone: Backbone, ids: tuple[int, ...]) -> torch.Tensor:
    """[T, D] The model's own final hidden states of one text alone."""
    return backbone.model.get_decoder()(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]


@contextmanager
def hooked(backbone: Backbone, layer: int, hook: Hook) -> Iterator[None]:
    handle = backbone.module(backbone.layout.down(layer)).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def compare(
    tail: SuffixForward, hidden: torch.Tensor, expected: list[torch.Tensor], rows: list[int], sites: Any
) -> None:
    """`hidden` holds, for each of `rows`, the expected states from its site on, from the first column on."""
    assert len(hidden) == len(rows)
    for states, row in zip(hidden, rows, strict=True):
        own = expected[row][sites[row] :]
        assert tail.mask[row].tolist() == [True] * len(own) + [False] * (len(tail.mask[row]) - len(own))
        torch.testing.assert_close(states[: len(own)], own, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_it_gives_the_models_own_final_hidden_states(tiny: Backbone, layer: int, sites: tuple[int, ...]) -> None:
    ids = rows_of(tiny)
    tail = SuffixForward(tiny, layer, ids, sites)
    expected = [whole(tiny, row) for row in ids]
    compare(tail, tail.run(), expected, list(range(len(ids))), sites)
    compare(tail, tail.base, expected, list(range(len(ids))), sites)


@torch.no_grad()
def test_without_sites_it_gives_every_position(tiny: Backbone, layer: int) -> None:
    ids = rows_of(tiny)
    tail = SuffixForward(tiny, layer, ids)
    compare(tail, tail.run(), [whole(tiny, row) for row in ids], list(range(len(ids))), [0] * len(ids))


@torch.no_grad()
@pytest.mark.parametrize("rows", [[2], [4, 0], [0, 1, 2, 3, 4], [3, 3, 1]], ids=str)
def test_it_runs_some_of_the_rows(tiny: Backbone, layer: int, sites: tuple[int, ...], rows: list[int]) -> None:
    ids = rows_of(tiny)
    tail = SuffixForward(tiny, layer, ids, sites)
    compare(tail, tail.run(torch.tensor(rows)), [whole(tiny, row) for row in ids], rows, sites)


@torch.no_grad()
def test_a_single_text_is_a_batch(tiny: Backbone, layer: int) -> None:
    ids = rows_of(tiny)[4:]
    for site in (0, 1, 40):
        tail = SuffixForward(tiny, layer, ids, [site])
        compare(tail, tail.run(), [whole(tiny, ids[0])], [0], [site])


@torch.no_grad()
def test_as_many_texts_as_they_have_tokens(tiny: Backbone, layer: int) -> None:
    """No axis can be told from another by its size."""
    text = rows_of(tiny)[2]
    ids = [tuple(text[i : i + 8]) for i in range(8)]
    for sites in ([0] * 8, [4] * 8):
        tail = SuffixForward(tiny, layer, ids, sites)
        compare(tail, tail.run(torch.tensor([5, 1])), [whole(tiny, row) for row in ids], [5, 1], sites)


@torch.no_grad()
def test_the_window_slides_over_the_kept_tokens(tiny: Backbone, layer: int) -> None:
    """Sites beyond a sliding window of 16: what the tail sees of its prefix moves with each position."""
    ids = [rows_of(tiny)[4] + rows_of(tiny)[2][1:], rows_of(tiny)[4]]
    sites = [len(ids[0]) - 30, 17]
    assert min(sites) > 16
    tail = SuffixForward(tiny, layer, ids, sites)
    compare(tail, tail.run(), [whole(tiny, row) for row in ids], [0, 1], sites)


def vectors(backbone: Backbone, n: int, requires_grad: bool = False) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    width = backbone.layout.hidden_size
    return [torch.randn(width, generator=generator).requires_grad_(requires_grad) for _ in range(n)]


def at(position: int, extra: torch.Tensor, row: int = 0) -> Hook:
    """Adds a vector to what leaves a module at one position."""

    def add(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        place = torch.zeros(output.shape[1])
        place[position] = 1
        return output + place[None, :, None] * extra

    return add


def at_first(extra: list[torch.Tensor]) -> Hook:
    """Adds each row's vector in the tail's first column."""

    def add(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        return torch.cat([output[:, :1] + torch.stack(extra)[:, None], output[:, 1:]], 1)

    return add


@torch.no_grad()
def test_a_hook_changes_it_as_the_same_hook_changes_the_whole_model(
    tiny: Backbone, layer: int, sites: tuple[int, ...]
) -> None:
    ids, extra = rows_of(tiny), vectors(tiny, len(TEXTS))
    tail = SuffixForward(tiny, layer, ids, sites)
    untouched = tail.run()
    expected = []
    for row, site, vector in zip(ids, sites, extra, strict=True):
        with hooked(tiny, layer, at(site, vector)):
            expected.append(whole(tiny, row))
    with hooked(tiny, layer, at_first(extra)):
        changed = tail.run()
    compare(tail, changed, expected, list(range(len(ids))), sites)
    assert float((changed - untouched)[:, 0].abs().amax(-1).min()) > 1e-2  # and not by nothing
    torch.testing.assert_close(tail.run(), untouched)  # nor for good


@torch.no_grad()
def test_a_hook_sees_the_rows_asked_for_in_that_order(tiny: Backbone, layer: int, sites: tuple[int, ...]) -> None:
    ids, extra, rows = rows_of(tiny), vectors(tiny, 2), [3, 1]
    tail = SuffixForward(tiny, layer, ids, sites)
    expected = {}
    for row, vector in zip(rows, extra, strict=True):
        with hooked(tiny, layer, at(sites[row], vector)):
            expected[row] = whole(tiny, ids[row])
    with hooked(tiny, layer, at_first(extra)):
        changed = tail.run(torch.tensor(rows))
    compare(tail, changed, [expected.get(i, torch.empty(0)) for i in range(len(ids))], rows, sites)


def test_a_gradient_is_the_one_through_the_whole_model(tiny: Backbone, layer: int, sites: tuple[int, ...]) -> None:
    """Relative to its norm, to 1e-5, in float32."""
    ids = rows_of(tiny)
    generator = torch.Generator().manual_seed(2)
    tail = SuffixForward(tiny, layer, ids, sites)
    mine, theirs = vectors(tiny, len(ids), True), vectors(tiny, len(ids), True)
    weights = [torch.randn(len(row), tiny.layout.hidden_size, generator=generator) for row in ids]
    with hooked(tiny, layer, at_first(mine)):
        hidden = tail.run()
    loss = sum(
        (states[: len(w) - site] * w[site:]).sum() for states, w, site in zip(hidden, weights, sites, strict=True)
    )
    loss.backward()
    for row, site, vector, w in zip(ids, sites, theirs, weights, strict=True):
        with hooked(tiny, layer, at(site, vector)):
            (whole(tiny, row)[site:] * w[site:]).sum().backward()
    for vector, other in zip(mine, theirs, strict=True):
        assert vector.grad is not None and other.grad is not None
        assert float(other.grad.norm()) > 0
        assert float((vector.grad - other.grad).norm() / other.grad.norm()) < 1e-5


def test_it_leaves_no_hook_behind(tiny: Backbone) -> None:
    SuffixForward(tiny, 1, rows_of(tiny), SITES[2])
    assert not [
        path for path, module in tiny.model.named_modules() if module._forward_hooks or module._forward_pre_hooks
    ]
