"""What passes for rounding, and what doesn't."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import xkeb
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.rounding import same_states
from xkeb.models.suffix import SuffixForward

STATES = torch.randn(7, 4096, generator=torch.Generator().manual_seed(0))


def off(share: float, dtype: torch.dtype) -> torch.Tensor:
    """The states, each with so much noise as a share of its norm."""
    noise = torch.randn(STATES.shape, generator=torch.Generator().manual_seed(1))
    return (STATES + share * noise * STATES.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True)).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "share", "same"),
    [
        (torch.bfloat16, 0.043, True),  # measured on a 7B model
        (torch.float16, 0.043, True),
        (torch.bfloat16, 0.2, False),
        (torch.float32, 1e-4, True),
        (torch.float32, 0.043, False),
    ],
    ids=str,
)
def test_how_far_states_may_be_apart(dtype: torch.dtype, share: float, same: bool) -> None:
    assert same_states(off(share, dtype), STATES.to(dtype)) is same
    assert same_states(STATES.to(dtype), STATES.to(dtype))


def test_one_state_that_is_another_is_seen_among_many() -> None:
    found = STATES.bfloat16()
    found[3] = found[4]
    assert not same_states(found, STATES.bfloat16())
    assert not same_states(found[:3], found)


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_upper_layers_that_are_run_again_may_be_rounded_otherwise(
    tiny_bfloat16: Backbone, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by kernels of another number of rows; what is no rounding is refused."""
    run = SuffixForward.run

    def noisy(
        suffix: SuffixForward, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None
    ) -> torch.Tensor:
        states = run(suffix, rows, columns)
        noise = torch.randn(states.shape, generator=torch.Generator().manual_seed(2))
        return (states + share * noise * states.norm(dim=-1, keepdim=True) / states.shape[-1] ** 0.5).to(states.dtype)

    monkeypatch.setattr(SuffixForward, "run", noisy)
    ids = list(range(5, 17))
    if share < 0.1:
        SuffixForward(tiny_bfloat16, 1, [ids])
    else:
        with pytest.raises(RequestError, match="can't be run without the lower ones"):
            SuffixForward(tiny_bfloat16, 1, [ids])


@pytest.fixture
def tiny_bfloat16(tiny_folders: dict[str, Path]) -> Backbone:
    return xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu", dtype="bfloat16")
