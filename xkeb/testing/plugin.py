"""The pytest plugin: what a plugin's tests are given. Imports nothing heavy until a fixture is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from xkeb.models.backbone import Backbone


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the Hugging Face format: a real causal language model of 6 layers with random weights."""
    from xkeb.testing.small import save_small

    return save_small(tmp_path_factory.mktemp("xkeb") / "small")


@pytest.fixture(scope="session")
def _small_tokenizer() -> PreTrainedTokenizerFast:
    from xkeb.testing.small import small_tokenizer

    return small_tokenizer()


@pytest.fixture
def small_backbone(_small_tokenizer: PreTrainedTokenizerFast) -> Backbone:
    """The same model, loaded on the CPU in float32; each test has one of its own."""
    from xkeb.testing.small import small_backbone

    return small_backbone(_small_tokenizer)
