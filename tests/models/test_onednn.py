"""Products by oneDNN, against the same in float64 and against PyTorch's own linear layers."""

from __future__ import annotations

import copy
import ctypes
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from xkeb.models.backbone import Backbone
from xkeb.models.onednn import CAPACITIES, OneDnnLinear, use_default, use_onednn

ROWS = [(), (1,), (3,), (2, 5), (300,)]


@pytest.fixture(params=[True, False], ids=["bias", "no-bias"])
def layer(request: pytest.FixtureRequest) -> nn.Linear:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(48, 3000, bias=request.param)).requires_grad_(False)
    use_onednn(layer)
    assert type(layer[0]) is OneDnnLinear
    return layer[0]


def exact(layer: nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    product = rows.double() @ layer.weight.double().T
    return product if layer.bias is None else product + layer.bias.double()


def off(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative error."""
    return float((found.detach().double() - wanted.detach()).norm() / wanted.detach().norm())


@pytest.mark.parametrize("shape", ROWS)
def test_products_and_gradients_are_those_of_float64(layer: nn.Linear, shape: tuple[int, ...]) -> None:
    rows = torch.randn(*shape, 48, requires_grad=True)
    found, wanted = layer(rows), exact(layer, rows)
    assert found.shape == wanted.shape
    assert off(found, wanted) < 1e-6
    grad = torch.randn(*shape, 3000)
    (back,) = torch.autograd.grad(found, rows, grad)
    assert off(back, grad.double() @ layer.weight.double()) < 2e-6  # few rows: no kernel of lesser exactness
    assert back.shape == rows.shape


def test_rows_that_do_not_lie_one_after_the_other(layer: nn.Linear) -> None:
    wide = torch.randn(4, 7, 96)
    for rows in (wide[..., ::2], wide[:, 1:3, :48], wide[:, :, :48].transpose(0, 1)):
        assert off(layer(rows), exact(layer, rows)) < 1e-6


@pytest.mark.parametrize(
    "change", [lambda w: w.add_(1.0), lambda w: w.data.mul_(2.0)], ids=["in-place", "through-data"]
)
def test_a_weight_that_is_written_to_is_read_anew(layer: nn.Linear, change: object) -> None:
    rows = torch.randn(5, 48)
    before = layer(rows)
    change(layer.weight)  # type: ignore[operator]
    assert off(layer(rows), exact(layer, rows)) < 1e-6
    assert not torch.allclose(layer(rows), before)


def test_a_weight_that_is_trained_has_its_gradient(layer: nn.Linear) -> None:
    layer.requires_grad_(True)
    rows = torch.randn(5, 48)
    layer(rows).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, rows.sum(0).expand(3000, 48), rtol=1e-4, atol=1e-4)


def test_other_precisions_are_left_alone() -> None:
    layer = nn.Sequential(nn.Linear(8, 8).to(torch.bfloat16)).requires_grad_(False)
    use_onednn(layer)
    assert type(layer[0]) is nn.Linear


def test_subclasses_are_left_alone() -> None:
    class Own(nn.Linear):
        pass

    layer = nn.Sequential(Own(8, 8)).requires_grad_(False)
    use_onednn(layer)
    assert type(layer[0]) is Own


def test_a_backbone_has_them_and_its_names_and_weights_are_as_they_were(tiny: Backbone) -> None:
    model = copy.deepcopy(tiny.model)
    use_default(model)
    assert not any(isinstance(module, OneDnnLinear) for module in model.modules())
    ids = torch.arange(3, 40).view(1, -1)
    names = list(model.state_dict())
    plain = model(ids).logits
    use_onednn(model)
    assert any(isinstance(module, OneDnnLinear) for module in model.modules())
    assert list(model.state_dict()) == names
    torch.testing.assert_close(model(ids).logits, plain, rtol=1e-4, atol=1e-4)


SHAPES = """
import ctypes, os, sys
import torch
from torch import nn
from xkeb.models.onednn import use_onednn

class Info(ctypes.Structure):
    _fields_ = [(f"n{i}", ctypes.c_size_t) for i in range(10)]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Info
layer = nn.Sequential(nn.Linear(96, 128, bias=False)).requires_grad_(False)
use_onednn(layer)
def ask(lengths):
    for length in lengths:
        layer(torch.zeros(length, 96))
    return library.mallinfo2().n7  # bytes in use
before = ask(range(1, 200))
print(ask(range(200, 600)) - before)
"""
"""Prints how many bytes products of 400 more shapes leave behind, after 199 others."""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc counts the bytes in use")
def test_kernels_of_shapes_that_are_past_are_let_go_of() -> None:
    """Left to themselves, the libraries keep 1,024 of them: so the same, as they were, grows by more than ten times as much."""
    plain = {name: value for name, value in os.environ.items() if name not in CAPACITIES}
    asked = dict.fromkeys(CAPACITIES, "1024")  # what is set already stays as it is
    ours, kept = (
        int(subprocess.check_output([sys.executable, "-c", SHAPES], env=env, text=True))
        for env in (plain, plain | asked)
    )
    assert 10 * max(ours, 1_000_000) < kept
