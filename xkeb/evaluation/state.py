"""What a job must leave as it found it: the model, and the process around it. Compared between jobs, and mended."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from xkeb.models.backbone import Backbone

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
Snapshot = Mapping[str, Any]
"""What was looked at, in words -> something that is equal where it is."""
WORD, ROW = 8, 1024
"""Bytes of a word that a fingerprint adds up, and words of a row."""


def fingerprint(tensor: torch.Tensor) -> str:
    """A short text that differs where the values do: of its bytes as whole numbers, the sums of rows and of columns.

    Reads a model at several GB a second, on whatever device it is. No accident keeps all sums; one who knows them could.
    """
    if tensor.is_meta:
        return f"{tensor.dtype} {[*tensor.shape]}"
    flat = tensor.detach().reshape(-1).contiguous().view(torch.uint8)
    if flat.storage_offset() % WORD:
        flat = flat.clone()
    size = flat.numel() // (WORD * ROW) * (WORD * ROW)
    words = flat[:size].view(torch.int64).view(-1, ROW)
    parts = [words.sum(0), words.sum(1), flat[size:]] if size else [flat]
    state = hashlib.sha256(f"{tensor.dtype} {[*tensor.shape]}".encode())
    for part in parts:
        state.update(part.cpu().numpy().tobytes())
    return state.hexdigest()


def model_state(backbone: Backbone, bits: Callable[[torch.Tensor], str] = fingerprint) -> Snapshot:
    """A backbone's parameters and buffers, its modules and their hooks, and what stands before its prompts.

    Args:
        bits: a text that differs where a tensor's values do.
    """
    model = backbone.model
    state: dict[str, Any] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        state[f"the values of {name}"] = bits(tensor)
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


def difference(before: Snapshot, after: Snapshot) -> str:
    """What is no longer as it was, in words; nothing where all is."""
    differing = [what for what in {**before, **after} if before.get(what) != after.get(what)]
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    return ", ".join(differing[:3]) + more


@dataclass(frozen=True)
class ProcessState:
    """The process as a job finds it."""

    settings: Snapshot = field(default_factory=settings)
    torch_random: torch.Tensor = field(default_factory=torch.get_rng_state)
    numpy_random: Any = field(default_factory=np.random.get_state)
    python_random: Any = field(default_factory=random.getstate)
    cuda_random: list[torch.Tensor] = field(
        default_factory=lambda: torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    )

    def restore(self) -> str:
        """Puts everything back that can be put back.

        Returns:
            the settings that were others, in words. The generators are put back without a word: to draw from them is no
            mistake, only the next job must not see it.
        """
        changed = difference(self.settings, settings())
        was = self.settings
        if changed:
            torch.set_default_dtype(was["torch's default dtype"])
            torch.set_default_device(was["torch's default device"])
            torch.set_grad_enabled(was["the grad mode"])
            torch.set_num_threads(was["the number of threads"])
            torch.use_deterministic_algorithms(was["deterministic algorithms"])
            torch.set_float32_matmul_precision(was["the precision of float32 products"])
            os.chdir(was["the working folder"])
        torch.set_rng_state(self.torch_random)
        np.random.set_state(self.numpy_random)
        random.setstate(self.python_random)
        if self.cuda_random:
            torch.cuda.set_rng_state_all(self.cuda_random)
        return changed
