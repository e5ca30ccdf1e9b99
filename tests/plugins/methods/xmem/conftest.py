"""Facts in two languages, and a fitted editor, for each file of tests."""

from __future__ import annotations

from typing import Any

import pytest
from small_xmem import fitted

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.types import Case


@pytest.fixture(scope="module")
def training() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh").parallel_training.cases)[:60]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh"))[:5]


@pytest.fixture(autouse=True, scope="module")
def artifacts_of_this_module(cache_of_this_module: None) -> None:
    """Each is trained once, by this very code."""


@pytest.fixture(scope="module")
def editor(llama: Backbone, training: list[Case]) -> Any:
    """With a cut-off that a gate of a few steps on a model of random weights lets some questions through."""
    return fitted(llama, training, threshold=0.6)
