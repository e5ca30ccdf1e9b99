"""What an edit must leave as it was: the model, to the bit, and the process around it."""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from xkeb.models.backbone import Backbone
from xkeb.utils.paths import cache_root

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
Snapshot = Mapping[str, Any]
"""What was looked at, in words -> something that is equal where it is."""


def model_state(backbone: Backbone) -> Snapshot:
    """A backbone's parameters and buffers bit by bit, its modules and their hooks, and what stands before its prompts."""
    model = backbone.model
    state: dict[str, Any] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        state[f"the values of {name}"] = _bits(tensor)
    for name, parameter in model.named_parameters():
        state[f"requires_grad of {name}"] = parameter.requires_grad
        state[f"the gradient of {name}"] = parameter.grad is not None
    for path, module in model.named_modules():
        what = path or "the model"
        state[f"the module {what}"] = id(module)
        state[f"the hooks of {what}"] = [len(getattr(module, kind)) for kind in HOOKS]
        state[f"the training mode of {what}"] = module.training
        state[f"the forward of {what}"] = vars(module).get("forward")
    state["the intervention that is installed"] = id(backbone.intervention)
    return state


def _bits(tensor: torch.Tensor) -> str:
    values = tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy()
    return f"{tensor.dtype} {hashlib.sha256(values.data).hexdigest()}"


def settings() -> Snapshot:
    """What is set for the whole process, which is not a method's to change."""
    return {
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "the grad mode": torch.is_grad_enabled(),
        "the inference mode": torch.is_inference_mode_enabled(),
        "the number of threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "the precision of float32 products": torch.get_float32_matmul_precision(),
        "hooks on all modules": [len(getattr(nn.modules.module, f"_global{kind}")) for kind in HOOKS],
        "the working folder": os.getcwd(),  # noqa: PTH109
    }


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


def difference(before: Snapshot, after: Snapshot) -> str:
    """What is no longer as it was, in words; nothing where all is."""
    differing = [what for what in {**before, **after} if before.get(what) != after.get(what)]
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    return ", ".join(differing[:3]) + more


@contextmanager
def own_cache() -> Iterator[Path]:
    """An empty cache, in which a method learns anew; only the converted models are those of the usual one."""
    usual = cache_root() / "models"
    with tempfile.TemporaryDirectory() as name:
        if usual.is_dir():
            (Path(name) / "models").symlink_to(usual.resolve())
        with patch.dict(os.environ, {"XKEB_CACHE": name}):
            yield Path(name)
