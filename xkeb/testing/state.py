"""What an edit must leave as it was: the model, to the bit, and the process around it."""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from xkeb.evaluation.state import Snapshot, difference, settings
from xkeb.evaluation.state import model_state as state_of
from xkeb.models.backbone import Backbone
from xkeb.utils.paths import cache_root

__all__ = ["Snapshot", "difference", "generators", "model_state", "other_generators", "own_cache", "settings"]


def model_state(backbone: Backbone) -> Snapshot:
    """A backbone's parameters and buffers bit by bit, its modules and their hooks, and what stands before its prompts."""
    return state_of(backbone, _bits)


def _bits(tensor: torch.Tensor) -> str:
    values = tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy()
    return f"{tensor.dtype} {hashlib.sha256(values.data).hexdigest()}"


def generators() -> Snapshot:
    """The states of the generators that everything in the process shares."""
    state: dict[str, Any] = {
        "torch's random state": torch.get_rng_state().tolist(),
        "numpy's random state": [np.asarray(part).tolist() for part in np.random.get_state()],
        "Python's random state": random.getstate(),
    }
    if torch.cuda.is_initialized():
        state["CUDA's random state"] = [device.tolist() for device in torch.cuda.get_rng_state_all()]
    return state


@contextmanager
def other_generators() -> Iterator[None]:
    """Inside, those generators stand somewhere else."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(99)
            np.random.seed(99)
            random.seed(99)
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


@contextmanager
def own_cache() -> Iterator[Path]:
    """An empty cache, in which a method learns anew; only the converted models are those of the usual one."""
    usual = cache_root() / "models"
    with tempfile.TemporaryDirectory() as name:
        if usual.is_dir():
            (Path(name) / "models").symlink_to(usual.resolve())
        with patch.dict(os.environ, {"XKEB_CACHE": name}):
            yield Path(name)
