"""Which library makes which product: what is measured, what follows from it, what is kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from xkeb.models import products
from xkeb.models.onednn import FEW, OneDnnLinear, Uses, onednn_product, use_default, use_onednn
from xkeb.models.products import REFERENCE, choose_products, faster_for, said_of

LARGE = (1024, 512)
MKL, ONEDNN = [1.0, 2.0], [1.0, 0.5]
"""Seconds of the two where one is faster."""


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch, fresh_cache: Path) -> Iterator[dict[tuple[int, int], list[list[float]]]]:
    """What a machine would have measured, by shape."""
    found: dict[tuple[int, int], list[list[float]]] = {}
    monkeypatch.setattr(products, "_measured", lambda shape: torch.tensor(found[shape]))
    products._kept.cache_clear()
    yield found
    products._kept.cache_clear()


def linear(shape: tuple[int, int], *, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Linear(shape[1], shape[0], bias=bias)).requires_grad_(False)


def test_each_kind_of_product_goes_by_its_own_seconds(seconds: dict[tuple[int, int], list[list[float]]]) -> None:
    seconds[LARGE] = [MKL, ONEDNN, ONEDNN, MKL]
    assert faster_for(LARGE) == Uses(few=False, many=True, few_back=True, many_back=False)
    seconds[512, 1024] = [[1.0, 0.9]] * 4  # too near to tell
    assert not any(faster_for((512, 1024)))


def test_a_small_weight_goes_by_the_reference_and_a_vocabulary_by_a_part(
    seconds: dict[tuple[int, int], list[list[float]]],
) -> None:
    seconds[REFERENCE] = [ONEDNN] * 4
    seconds[products.MOST_OUTPUTS, 64] = [MKL, ONEDNN, MKL, MKL]
    assert all(faster_for((48, 48)))
    assert faster_for((262_144, 64)) == Uses(
        False, True, True, False
    )  # a long sum of few rows is oneDNN's whatever it takes


@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_gradients_over_a_vocabulary_are_exact_for_few_rows(rows: int, fresh_cache: Path) -> None:
    """Measured on whatever this is, chosen, and held against float64."""
    torch.manual_seed(0)
    head = linear((49_152, 64), bias=False)
    products._kept.cache_clear()
    choose_products(head)
    input, grad = torch.randn(rows, 64, requires_grad=True), torch.randn(rows, 49_152)
    (back,) = torch.autograd.grad(head(input), input, grad)
    weight = next(head.parameters()).double()
    wanted = grad.double() @ weight
    assert float((back.double() - wanted).norm() / wanted.norm()) < 1.5e-6


def test_what_was_measured_is_measured_once(
    seconds: dict[tuple[int, int], list[list[float]]], fresh_cache: Path
) -> None:
    seconds[LARGE] = [ONEDNN, MKL, MKL, MKL]
    first = faster_for(LARGE)
    products._kept.cache_clear()  # as another process
    del seconds[LARGE]
    assert faster_for(LARGE) == first
    assert len(list((fresh_cache / "products").glob("*.safetensors"))) == 1


def test_a_cache_that_cant_be_written_keeps_nothing(
    seconds: dict[tuple[int, int], list[list[float]]], fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    seconds[LARGE] = [ONEDNN] * 4
    monkeypatch.setattr(products, "cached_tensors", refuse)
    assert all(faster_for(LARGE))


@pytest.mark.parametrize("rows", [1, FEW, FEW + 1, 3 * FEW])
@pytest.mark.parametrize("uses", [Uses(*(i >> bit & 1 == 1 for bit in range(4))) for i in range(16)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_whichever_it_is_the_bits_are_those_of_that_library(uses: Uses, rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(LARGE[1], LARGE[0], bias=bias).requires_grad_(False)
    chosen = nn.Sequential(copy.deepcopy(plain))
    use_onednn(chosen, lambda _: uses)
    input = torch.randn(rows, LARGE[1], requires_grad=True)
    grad = torch.randn(rows, LARGE[0])
    output = chosen(input)
    (back,) = torch.autograd.grad(output, input, grad)
    few = rows <= FEW
    forward, backward = (uses.few, uses.few_back) if few else (uses.many, uses.many_back)
    with torch.no_grad():
        wanted = onednn_product(input, plain.weight, plain.bias) if forward else plain(input)
        wanted_back = onednn_product(grad, plain.weight.t(), None) if backward else grad @ plain.weight
        assert torch.equal(chosen(input), wanted)
    assert torch.equal(output, wanted) and torch.equal(back, wanted_back)


def test_a_result_says_which(seconds: dict[tuple[int, int], list[list[float]]]) -> None:
    model = nn.Sequential(linear(LARGE), linear(REFERENCE))
    assert said_of(model) == "PyTorch's own"
    seconds[LARGE], seconds[REFERENCE] = [MKL, ONEDNN, MKL, MKL], [ONEDNN] * 4
    choose_products(model)
    assert said_of(model) == "oneDNN in 5 of 8 cases, else PyTorch's own"
    use_default(model)
    assert said_of(model) == "PyTorch's own" and not any("uses" in vars(module) for module in model.modules())


def test_it_is_measured_here(fresh_cache: Path) -> None:
    """On whatever this is: four kinds by two libraries, each a time that a product can take."""
    found = products._measured(LARGE)
    assert found.shape == (4, 2)
    assert ((found > 0) & (found < 1)).all()
    model = linear(LARGE)
    choose_products(model)
    assert type(model[0]) is OneDnnLinear
