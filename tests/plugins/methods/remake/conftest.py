"""Facts in two languages, and a fitted editor, for each file of tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_remake import fitted

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
def editor(llama: Backbone, training: list[Case], tiny_bert: Path) -> Any:
    return fitted(llama, training, tiny_bert)
