"""Tiny networks for SERAC, the facts they learn from, and a cache for each file of tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from small_serac import SHORT, fitted

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.types import Case


@pytest.fixture(scope="module")
def training() -> list[Case]:
    """The last ones, held out, are among those learnt, so that their loss falls from the first steps on."""
    facts = list(xkeb.load_task("bizsre_mini_en2zh").training.cases)[:20]
    return [*facts, *facts[:4]]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh"))[:4]


@pytest.fixture(autouse=True, scope="module")
def artifacts_of_this_module(cache_of_this_module: None) -> None:
    """Each is trained once, by this very code."""


@pytest.fixture(scope="module")
def options(tiny_bert: Path, tiny_folders: Mapping[str, Path]) -> dict[str, Any]:
    return {"classifier": str(tiny_bert), "counterfactual": str(tiny_folders["llama"]), **SHORT}


@pytest.fixture(scope="module")
def thorough(options: Mapping[str, Any]) -> dict[str, Any]:
    """Trained until it tells questions apart."""
    return {**options, "steps": 12, "classifier_steps": 120, "validate_every": 12}


@pytest.fixture(scope="module")
def editor(llama: Backbone, training: list[Case], thorough: dict[str, Any]) -> Any:
    return fitted(llama, training, thorough)
