"""Facts in two languages, for each file of tests of methods that keep edits in a memory."""

from __future__ import annotations

import pytest

import xkeb
from xkeb.types import Case


@pytest.fixture(scope="module")
def training() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh").parallel_training.cases)[:60]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh"))[:5]


@pytest.fixture(autouse=True, scope="module")
def artifacts_of_this_module(cache_of_this_module: None) -> None:
    """Each is made once, by this very code."""
