"""The output head, at the positions that count."""

from __future__ import annotations

import pytest
import torch

from xkeb.models.backbone import Backbone


@pytest.mark.parametrize("shape", [(), (1,), (2,), (1, 3), (5,), (2, 2, 2)])
def test_any_number_of_rows(tiny: Backbone, shape: tuple[int, ...]) -> None:
    hidden = torch.randn(*shape, tiny.layout.hidden_size, generator=torch.Generator().manual_seed(0))
    logits = tiny.logits(hidden)
    exact = (hidden.double() @ tiny.parameter(f"{tiny.layout.head}.weight").double().T).float()
    assert logits.shape == exact.shape
    torch.testing.assert_close(logits, exact, rtol=1e-4, atol=1e-4)


def test_the_gradient_reaches_the_rows_that_were_given(tiny: Backbone) -> None:
    hidden = torch.randn(2, tiny.layout.hidden_size, requires_grad=True)
    (gradient,) = torch.autograd.grad(tiny.logits(hidden).square().sum(), hidden)
    weight = tiny.parameter(f"{tiny.layout.head}.weight")
    torch.testing.assert_close(gradient, 2 * hidden.detach() @ weight.T @ weight, rtol=1e-3, atol=1e-3)
