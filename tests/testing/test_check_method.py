"""`xkeb.testing.check_method`: each thing that a method can do wrong is caught by its own sentence."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from spoilt_changes import CHANGES
from spoilt_methods import METHODS, Good, RemembersOtherModels

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.testing import check_method
from xkeb.testing.state import model_state
from xkeb.types import Case, Edit, Sight

CAUGHT = {**METHODS, **CHANGES}


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Registers a method as ``mine``; afterwards, the process is as it was, whatever the method did to it."""
    python_state, numpy_state, dtype = random.getstate(), np.random.get_state(), torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        yield lambda thing: monkeypatch.setitem(get_plugins().methods.entries, "mine", Entry(thing, "test"))
    random.setstate(python_state)
    np.random.set_state(numpy_state)
    torch.set_default_dtype(dtype)


def test_a_sound_method_passes_and_leaves_the_backbone_as_it_was(register: Any, small_backbone: Backbone) -> None:
    register(Good)
    before, cache = model_state(small_backbone), os.environ["XKEB_CACHE"]
    check_method("mine", small_backbone, lr=0.02)
    assert model_state(small_backbone) == before
    assert os.environ["XKEB_CACHE"] == cache


@pytest.mark.parametrize("method", CAUGHT, ids=lambda method: method.__name__)
def test_what_a_method_does_wrong_is_caught(method: Any, register: Any, small_backbone: Backbone) -> None:
    register(method)
    with pytest.raises(AssertionError) as caught:
        check_method("mine", small_backbone)
    head, *lines = str(caught.value).splitlines()
    assert head.startswith("Method 'mine' fails ")
    assert [line for line in lines if CAUGHT[method] in line], lines
    assert all(line.startswith("- ") and line.endswith(".") for line in lines)


def test_what_is_kept_from_another_model_is_all_that_is_wrong(register: Any, small_backbone: Backbone) -> None:
    """On one model, such a method keeps every other promise."""
    register(RemembersOtherModels)
    with pytest.raises(AssertionError, match=r"Method 'mine' fails a check:\n- A model of other weights .*\.$"):
        check_method("mine", small_backbone)


def test_a_context_is_no_matter_of_likelihood(register: Any, small_backbone: Backbone) -> None:
    """A model of random weights understands none."""

    class Tells:
        def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[xkeb.ContextChange]:
            return [xkeb.ContextChange(f"{edit.prompt} {edit.target}\n") for edit in edits]

    register(Tells)
    check_method("mine", small_backbone)


def test_an_unknown_option_is_named(register: Any, small_backbone: Backbone) -> None:
    register(Good)
    with pytest.raises(AssertionError, match="Unknown option of method 'mine': 'layr': did you mean 'layer'"):
        check_method("mine", small_backbone, layr=1)


def test_facts_are_at_hand_for_a_method_that_learns(register: Any, small_backbone: Backbone) -> None:
    learned: list[int] = []

    class Learns(Good):
        sees = frozenset({Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING})

        def needs_training(self) -> bool:
            return True

        def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
            learned.append(len(cases))

    register(Learns)
    check_method("mine", small_backbone)
    assert set(learned) == {30}
