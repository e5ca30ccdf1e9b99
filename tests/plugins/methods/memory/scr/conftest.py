"""A fitted editor, for each file of tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_scr import fitted

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.types import Case


@pytest.fixture(scope="module")
def training() -> list[Case]:
    """Few: the model is asked about each."""
    return list(xkeb.load_task("bizsre_mini_en2zh").parallel_training.cases)[:31]


@pytest.fixture(scope="module")
def editor(llama: Backbone, training: list[Case], tiny_bert: Path) -> Any:
    return fitted(llama, training, tiny_bert)
