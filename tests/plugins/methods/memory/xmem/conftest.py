"""A fitted editor, for each file of tests."""

from __future__ import annotations

from typing import Any

import pytest
from small_xmem import fitted

from xkeb.models.backbone import Backbone
from xkeb.types import Case


@pytest.fixture(scope="module")
def editor(llama: Backbone, training: list[Case]) -> Any:
    """With a cut-off that a gate of a few steps on a model of random weights lets some questions through."""
    return fitted(llama, training, threshold=0.6)
