"""Code on tensors without memory takes the way, and as much memory, as on real ones."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from xkeb.editing.training import _order
from xkeb.estimation.fake_tensors import FakeTensors
from xkeb.estimation.meter import Meter
from xkeb.models.backbone import Backbone


def test_numbers_are_fake_and_whole_numbers_real() -> None:
    with FakeTensors():
        assert isinstance(torch.zeros(3), FakeTensor)
        assert isinstance(torch.randn(3, generator=torch.Generator()), FakeTensor)
        assert torch.arange(3).tolist() == [0, 1, 2]
        assert torch.full((2,), 7).tolist() == [7, 7]
        assert isinstance(torch.full((2,), 7.0), FakeTensor)
        assert torch.tensor([[4, 5]]).sum().item() == 9
        shuffled = torch.randperm(9, generator=torch.Generator().manual_seed(1)).tolist()
    assert shuffled == torch.randperm(9, generator=torch.Generator().manual_seed(1)).tolist()


def test_what_is_looked_at_and_is_not_there() -> None:
    with FakeTensors():
        numbers = torch.randn(4, 3)
        assert numbers[0, 0].item() == 1.0 and numbers[:, 0].tolist() == [1.0] * 4
        assert torch.allclose(numbers, numbers + 1)
        assert bool((numbers > 2).all())
        loss = numbers.mean()  # is as one, so never small enough to stop at
        assert not loss < 0.05 and loss > 0.05
        assert numbers.argmax(-1).tolist() == [0] * 4
        assert int(torch.linalg.cholesky_ex(numbers[:3])[1]) == 0


def test_another_precision_and_another_device_are_those_asked_for() -> None:
    with FakeTensors():
        numbers = torch.randn(4, 3).to("cpu", torch.bfloat16)
        again = numbers.to(torch.randn(2, 3))
        moved = numbers.to("meta")
    assert [(one.dtype, one.device.type) for one in (numbers, again, moved)] == [
        (torch.bfloat16, "cpu"),
        (torch.float32, "cpu"),
        (torch.bfloat16, "meta"),
    ]


def test_the_same_shapes_give_the_same_again_in_memory_of_their_own() -> None:
    with FakeTensors() as meter:
        numbers, whole = torch.randn(4, 3), torch.randn(4, 3)
        before = meter.live
        first = numbers * 2
        second = numbers * 2
        assert meter.live == before + 2 * 4 * 3 * 4
        assert (numbers * 2.0 + whole).shape == (4, 3)
        assert (torch.ones(4, 1) * numbers.T[:, :1].T).shape == (4, 3)  # other strides, other sizes
        assert first.T.contiguous().stride() == (4, 1) and second.T.stride() == (1, 3)
        part = first[1:]  # a view holds the whole, and nothing more
        del first, second
        assert meter.live == before + 4 * 3 * 4
        del part
        assert meter.live == before


def test_masks_select_as_many_as_they_do_in_a_run() -> None:
    with FakeTensors():
        numbers = torch.randn(4, 3)
        known = torch.tensor([True, False, True, False])
        assert numbers[known].shape == (2, 3)
        assert numbers[known & (numbers > 0).any(-1)].shape == (2, 3)
        assert numbers[(numbers > 0).any(-1)].shape == (4, 3)
        assert len(numbers[(numbers > 0)]) == 12


def test_the_order_of_training_facts_is_that_of_a_run() -> None:
    _order.cache_clear()
    with FakeTensors():
        inside = _order(20, seed=3, epoch=0)
    _order.cache_clear()
    assert inside == _order(20, seed=3, epoch=0)


@pytest.mark.parametrize("rows", [1, 5])
def test_a_step_of_training_takes_the_same_memory(tiny: Backbone, rows: int) -> None:
    """A whole model with gradients of all weights, Adam's moments among them."""
    ids = torch.arange(rows * 7).view(rows, 7) % 50

    def run(meter: Meter, model: nn.Module) -> None:
        model.requires_grad_()
        optimizer = torch.optim.Adam(model.parameters())
        with meter, meter.phase("step"):
            for _ in range(2):
                optimizer.zero_grad()
                logits = model(ids, use_cache=False).logits
                nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten()).backward()
                optimizer.step()

    real = copy.deepcopy(tiny.model)
    meter = Meter()
    meter.hold([*real.parameters(), *real.buffers()])
    run(meter, real)
    faked = FakeTensors()
    fake = copy.deepcopy(tiny.model)
    fake.to("meta")  # type: ignore[arg-type] # its type lacks `self`
    fake.tie_weights()
    for name, buffer in tiny.model.named_buffers():  # meta ones would be made anew
        module, _, last = name.rpartition(".")
        fake.get_submodule(module)._buffers[last] = buffer.clone()
    faked.load(fake, torch.float32)
    run(faked, fake)
    assert faked.peak == meter.peak
    assert faked.work.flops == meter.work.flops
