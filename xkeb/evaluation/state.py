"""What a job must leave as it found it: the model, and the process around it. Compared between jobs, and mended."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from xkeb.models.backbone import Backbone

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
Snapshot = Mapping[str, Any]
"""What was looked at, in words -> something that is equal where it is."""
Patchable = Mapping[tuple[Any, str], Any]
"""A module or a class and a name in it -> what stands there."""
_HELD: list[torch.inference_mode] = []
"""PyTorch leaves a mode when it is forgotten."""
AUTOCAST = ("cpu", "cuda")
"""Kinds of devices."""
OURS = "XKEB_"
"""What variables of the environment begin with that say where this suite looks for things."""
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
        state[f"the attributes of {what}"] = _plain_attributes(module)
    state["the model's configuration"] = model.config.to_dict()
    state["the tokenizer"] = _tokenizer_state(backbone.tokenizer)
    state["the intervention that is installed"] = id(backbone.intervention)
    return state


def _plain_attributes(module: nn.Module) -> dict[str, Any]:
    """Numbers and texts that a module computes with, such as the epsilon of a norm; not what it notes of the longest text."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, bool | int | float | str) and not name.endswith("_cached")
    }


def _tokenizer_state(tokenizer: Any) -> list[Any]:
    """What decides how texts become tokens, without the vocabulary itself, which is long, and without what each call sets."""
    rules = getattr(tokenizer, "backend_tokenizer", None)
    names = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
    return [
        id(tokenizer),
        len(tokenizer),
        sorted(tokenizer.get_added_vocab().items()),
        {name: str(value) for name, value in tokenizer.special_tokens_map.items()},
        [getattr(tokenizer, name, None) for name in ("padding_side", "truncation_side", "chat_template")],
        [str(getattr(rules, name, None)) for name in names],
    ]


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
        "autocast": [torch.is_autocast_enabled(kind) for kind in AUTOCAST],
        "hooks on all modules": [len(kind) for kind in global_hooks()],
        "the working folder": os.getcwd(),  # noqa: PTH109
        "variables of the environment": {name: value for name, value in os.environ.items() if name.startswith(OURS)},
    }


def global_hooks() -> list[dict[int, Any]]:
    """PyTorch's own tables of the hooks on all modules."""
    return [getattr(nn.modules.module, f"_global{kind}") for kind in HOOKS]


def patchable() -> Patchable:
    """What a method may exchange for all models at once: the functions of PyTorch, and what modules compute, by class.

    A model that is loaded anew has what was exchanged, too. A few milliseconds.
    """
    functions = {
        (owner, name): one
        for owner in (torch, nn.functional)
        for name, one in vars(owner).items()
        if callable(one) and not isinstance(one, type) and name[0] != "_"
    }
    classes, seen = [nn.Module], {nn.Module}
    for cls in classes:  # grows
        below = [one for one in cls.__subclasses__() if one not in seen]
        seen.update(below)
        classes += below
    methods = {(cls, name): vars(cls)[name] for cls in classes for name in ("forward", "__call__") if name in vars(cls)}
    return {**functions, **methods}


def difference(before: Snapshot, after: Snapshot) -> str:
    """What is no longer as it was, in words; nothing where all is."""
    differing = [what for what in {**before, **after} if before.get(what) != after.get(what)]
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    return ", ".join(differing[:3]) + more


@dataclass(frozen=True)
class ProcessState:
    """The process as a job finds it."""

    settings: Snapshot = field(default_factory=settings)
    code: Patchable = field(default_factory=patchable)
    hooks: Sequence[dict[int, Any]] = field(default_factory=lambda: [dict(kind) for kind in global_hooks()])
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
        patched = self._unpatch()
        changed = ", ".join(part for part in (patched, difference(self.settings, settings())) if part)
        was = self.settings
        if changed:
            if torch.is_inference_mode_enabled() != was["the inference mode"]:
                _HELD.append(torch.inference_mode(was["the inference mode"]))  # what was entered is left by nobody else
                _HELD[-1].__enter__()
            torch.set_default_dtype(was["torch's default dtype"])
            torch.set_default_device(was["torch's default device"])
            torch.set_grad_enabled(was["the grad mode"])
            torch.set_num_threads(was["the number of threads"])
            torch.use_deterministic_algorithms(was["deterministic algorithms"])
            torch.set_float32_matmul_precision(was["the precision of float32 products"])
            for kind, on in zip(AUTOCAST, was["autocast"], strict=True):
                torch.set_autocast_enabled(kind, on)
            for hooks, those in zip(global_hooks(), self.hooks, strict=True):
                hooks.clear()
                hooks.update(those)
            os.chdir(was["the working folder"])
            for name in [name for name in os.environ if name.startswith(OURS)]:
                del os.environ[name]
            os.environ.update(was["variables of the environment"])
        torch.set_rng_state(self.torch_random)
        np.random.set_state(self.numpy_random)
        random.setstate(self.python_random)
        if self.cuda_random:
            torch.cuda.set_rng_state_all(self.cuda_random)
        return changed

    def _unpatch(self) -> str:
        """Puts functions and methods back that were exchanged, and names them."""
        changed = [(owner, name) for (owner, name), was in self.code.items() if vars(owner).get(name) is not was]
        for owner, name in changed:
            setattr(owner, name, self.code[owner, name])
        return ", ".join(f"{owner.__name__}.{name}" for owner, name in changed)
