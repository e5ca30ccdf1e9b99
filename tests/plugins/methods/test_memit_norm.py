"""MEMIT where a block normalises its MLP's output: what is written reaches the residual stream through that norm."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from plain_memit import brute_force, error, hooked, stream

import xkeb
from xkeb.errors import XkebError
from xkeb.models.backbone import Backbone
from xkeb_plugins.methods.locate.post_norm import write_through_norm


@pytest.fixture(scope="module")
def gemma3(tiny_folders: dict[str, Path]) -> Backbone:
    return xkeb.load_backbone("hf", path=str(tiny_folders["gemma3"]), device="cpu")


def test_what_a_block_adds_is_its_mlp_through_the_norm(tiny: Backbone) -> None:
    """The layout's `mlp_norm` is the one; where there is none, the output itself is added."""
    layout, ids = tiny.layout, torch.tensor([[5, 6, 7, 8]])
    assert (layout.mlp_norm is not None) == ("Gemma" in type(tiny.model).__name__)
    for layer in range(tiny.n_layers):
        outputs = torch.randn(2, layout.hidden_size, generator=torch.Generator().manual_seed(layer))
        leaving: list[torch.Tensor] = []
        keep = hooked(tiny.module(layout.layer(layer)), lambda _, i, o, seen=leaving: seen.append(stream(o)[0, -1]))
        with keep, torch.no_grad():
            for output in outputs:
                put = hooked(tiny.module(layout.down(layer)), lambda _, i, o, new=output: torch.zeros_like(o) + new)
                with put:
                    tiny.model(ids)
        path = layout.after_mlp(layer)
        added = tiny.module(path)(outputs) if path else outputs
        assert error(leaving[0] - leaving[1], added[0] - added[1]) < 1e-4


def test_what_is_written_through_a_norm_comes_nearest(gemma3: Backbone) -> None:
    path = gemma3.layout.after_mlp(2)
    assert path
    norm, weight = gemma3.module(path), gemma3.parameter(f"{path}.weight")
    generator = torch.Generator().manual_seed(0)
    original = weight.clone()
    for spread in (0.0, 0.5, 3.0):  # weights all alike, unlike, and some negative
        with torch.no_grad():
            weight.copy_(spread * torch.randn(32, generator=generator))
        try:
            outputs = 3 * torch.randn(8, 32, generator=generator)
            wanted = torch.tensor([0.0, 0.01, 0.3, 1, 3, 10, 30, 100])[:, None] * torch.randn(
                8, 32, generator=generator
            )
            changes = write_through_norm(norm, outputs, wanted)
            assert not changes[0].any()
            for output, want, change in zip(outputs[1:], wanted[1:], changes[1:], strict=True):
                best = brute_force(norm, output, want)
                after, possible = norm((output + change).float()), norm(best.float())
                distance = (after - norm(output) - want).norm()
                assert distance <= (possible - norm(output) - want).norm() * (1 + 1e-4) + 1e-5
                assert (output + change).norm() == pytest.approx(float(output.norm()), rel=1e-6)
        finally:
            with torch.no_grad():
                weight.copy_(original)


def test_a_reachable_change_is_reached(gemma3: Backbone) -> None:
    path = gemma3.layout.after_mlp(2)
    assert path
    norm = gemma3.module(path)
    one, other = torch.randn(2, 4, 32, generator=torch.Generator().manual_seed(0))
    changed = one + write_through_norm(norm, one, norm(other) - norm(one)).float()
    assert error(norm(changed), norm(other)) < 1e-5


def test_a_norm_of_another_kind_is_refused() -> None:
    with pytest.raises(XkebError, match="LayerNorm after the MLP is no RMSNorm"):
        write_through_norm(torch.nn.LayerNorm(8), torch.randn(2, 8), torch.randn(2, 8))
