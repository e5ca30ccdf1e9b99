"""Changes on disk, and checkpoints of edited models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from some_changes import dense, fingerprint, low_rank, noise, one_by_one, untouched

import xkeb
from xkeb.editing.changes import ContextChange, LowRankChange, WeightChange, load_change
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case


def test_what_is_saved_is_loaded(tiny: Backbone, tmp_path: Path, make: Callable[[Backbone, int], Any]) -> None:
    change = make(tiny, 1)
    change.save(tmp_path / "a" / "b")
    loaded = load_change(tmp_path / "a" / "b")
    assert type(loaded) is type(change)
    if isinstance(change, ContextChange):
        assert isinstance(loaded, ContextChange) and loaded.text == change.text
        return
    assert isinstance(loaded, WeightChange) and isinstance(change, WeightChange)
    assert loaded.deltas().keys() == change.deltas().keys()
    assert all(torch.equal(loaded.deltas()[name], delta) for name, delta in change.deltas().items())


def test_a_context_for_each_language_survives_in_a_folder_named_by_a_string(tmp_path: Path) -> None:
    ContextChange({"en": "one “two”", "zh": "甲\n乙"}).save(str(tmp_path))
    loaded = load_change(str(tmp_path))
    assert isinstance(loaded, ContextChange) and loaded.text == {"en": "one “two”", "zh": "甲\n乙"}


def test_several_modules_of_mixed_rank_survive(tiny: Backbone, tmp_path: Path) -> None:
    layout = tiny.layout
    change = LowRankChange({**low_rank(tiny, 0, (0,), 2).factors, **low_rank(tiny, 0, (3,), 1).factors})
    change.save(tmp_path)
    loaded = load_change(tmp_path)
    assert isinstance(loaded, LowRankChange)
    assert set(loaded.factors) == {layout.down(0), layout.down(3)}
    for path, (left, right) in change.factors.items():
        assert torch.equal(loaded.factors[path][0], left) and torch.equal(loaded.factors[path][1], right)


def test_factors_that_share_their_memory_can_be_saved(llama: Backbone, tmp_path: Path) -> None:
    """The same key in two layers, or slices of one tensor."""
    left = noise(32, 2, seed=0)
    right = noise(1, 80, seed=1)
    change = LowRankChange({llama.layout.down(0): (left[:, :1], right), llama.layout.down(1): (left[:, 1:], right)})
    change.save(tmp_path)
    loaded = load_change(tmp_path)
    assert isinstance(loaded, LowRankChange)
    assert all(torch.equal(loaded.deltas()[name], delta) for name, delta in change.deltas().items())


def test_a_folder_without_a_change_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"change\.safetensors"):
        load_change(tmp_path)


@pytest.mark.parametrize("kind", [low_rank, dense])
def test_an_exported_checkpoint_predicts_as_the_applied_change_does(
    tiny: Backbone, cases: list[Case], tmp_path: Path, kind: Callable[[Backbone, int], Any]
) -> None:
    before, change = fingerprint(tiny), kind(tiny, 6)
    change.export(tiny, tmp_path / "edited")
    assert fingerprint(tiny) == before
    exported = xkeb.load_backbone("hf", path=str(tmp_path / "edited"), device="cpu")
    answers = one_by_one(tiny, [change] * 4, cases)
    assert untouched(exported, cases) == answers
    assert answers != untouched(tiny, cases)
    assert exported.sha256 != tiny.sha256
    with change.applied(tiny):
        for name, parameter in exported.model.named_parameters():
            assert torch.equal(parameter, tiny.parameter(name)), name
