"""The meter, on tensors whose bytes can be counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xkeb.estimation.meter import INTENSITY, Meter, Work

KB = 256
"""float32 numbers."""


def test_what_is_alive_counts_once_and_what_is_gone_no_more() -> None:
    meter = Meter()
    with meter, meter.phase("all"):
        one = torch.zeros(KB)
        view = one.view(16, 16).T
        assert meter.live == 1024
        two = one + 1
        assert meter.live == 2048
        del one
        assert meter.live == 2048  # the view holds it
        del view
        assert meter.live == 1024
        two.add_(1)
        assert meter.live == 1024
    assert meter.peak == 2048
    del two
    assert meter.live == 0


def test_saved_activations_live_until_backward() -> None:
    weight = torch.ones(KB, requires_grad=True)
    meter = Meter()
    meter.hold([weight])
    with meter, meter.phase("all"):
        loss = (weight.exp().exp() * 2).sum()
        # the two that exp keeps for backward; the product is gone, and the sum is one number
        assert meter.live == 3 * 1024 + 4
        loss.backward()
        del loss
    assert meter.live == 2 * 1024  # the weight and its gradient


def test_ties_count_once_and_what_goes_in_is_seen() -> None:
    layer = nn.Linear(16, 16, bias=False)
    tied = nn.Linear(16, 16, bias=False)
    tied.weight = layer.weight
    meter = Meter()
    meter.hold([*layer.parameters(), *tied.parameters()])
    assert meter.live == 1024
    unseen = torch.ones(1, 16)
    with meter, torch.no_grad():
        layer(unseen)
    assert meter.live == 1024 + 64


def test_phases_are_apart() -> None:
    meter = Meter()
    with meter:
        with meter.phase("outer"):
            kept = torch.zeros(KB)
            with meter.phase("inner"):
                torch.zeros(3 * KB)
            torch.zeros(2 * KB)
        with meter.phase("later"):
            pass
    assert dict(meter.peaks) | {"": 0} == {"": 0, "outer": 3 * 1024, "inner": 4 * 1024, "later": 1024}
    assert len(kept) == KB


def test_disregarded_tensors_are_never_counted() -> None:
    old = torch.zeros(KB)
    meter = Meter()
    meter.disregard()
    new = torch.zeros(KB)
    with meter:
        old + new
    assert meter.live == 1024


def test_work_of_a_product() -> None:
    left, right = torch.ones(8, 16), torch.ones(16, 4)
    meter = Meter()
    with meter, torch.inference_mode():
        product = left @ right
        flops, moved = 2 * 8 * 16 * 4, 4 * (8 * 16 + 16 * 4 + 8 * 4)
        assert meter.work == Work(flops, moved - flops / INTENSITY, 1)
        product + 1
    assert meter.work == Work(flops, moved - flops / INTENSITY + 2 * 4 * 8 * 4, 2)


@pytest.mark.parametrize(("dtype", "enough"), [(torch.float32, 180), (torch.bfloat16, 80)])
def test_a_product_of_few_rows_waits_for_its_matrix_and_one_of_many_does_not(dtype: torch.dtype, enough: int) -> None:
    weight = torch.ones(1024, 1024, dtype=dtype)
    for rows in (1, enough):
        meter = Meter()
        with meter, torch.inference_mode():
            torch.ones(rows, 1024, dtype=dtype) @ weight
        made = rows * 1024 * dtype.itemsize  # the ones
        if rows == 1:
            assert 0.9 * weight.nbytes < meter.work.moved - made < weight.nbytes
        else:
            assert meter.work.moved == made
