"""EasyEdit's methods with settings for a tiny model, and a check that the model is left as it was."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

import xkeb
from xkeb.editing.editor import prepare
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.easyeditor.package import INSTALL

METHODS = ("easyeditor-ft", "easyeditor-ike", "easyeditor-kn", "easyeditor-memit", "easyeditor-rome")
installed = pytest.mark.skipif(
    importlib.util.find_spec("easyeditor") is None or importlib.util.find_spec("einops") is None,
    reason=f"EasyEdit's code is not installed: {INSTALL}",
)
NEWER_METHODS = tuple(
    f"easyeditor-{name}" for name in ("alphaedit", "emmet", "grace", "lora", "r-rome", "ultraedit", "wise")
)
"""Those that only a checkout has."""
CHECKOUT = os.environ.get("XKEB_EASYEDIT_DIR", "")
checked_out = pytest.mark.skipif(not CHECKOUT, reason="no checkout of EasyEdit: set XKEB_EASYEDIT_DIR")
PREFIXES = ("The weather is fine. ", "Therefore, on the whole. ", "今天。")
EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en", "Japan"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh", "法国"),
    Edit("Is Rome, where Rome's river is, the capital?", "New Delhi", "en", "Rome"),  # the subject stands in it twice
    Edit("Mount Everest stands in", "Peru", "en", "Mount Everest"),
)
SETTINGS: dict[str, dict[str, Any]] = {
    "ft": {"layer": 2, "steps": 5},
    "ft-l": {"layer": 2, "steps": 5, "norm_constraint": 1.2e-3},
    "rome": {"layer": 2, "steps": 6, "context_templates": PREFIXES, "mom2_adjustment": False},
    "rome-covariance": {"layer": 2, "steps": 6, "context_templates": PREFIXES, "mom2_adjustment": True},
    "memit": {"layers": (1, 2, 3), "steps": 6, "context_templates": PREFIXES, "mom2_corpus": "task"},
}
TINY: dict[str, dict[str, Any]] = {
    "easyeditor-ft": {"layer": 2, "steps": 2},
    "easyeditor-rome": {"layer": 2, "steps": 2, "contexts": ((5, 2),)},
    "easyeditor-memit": {"layers": (1, 2), "steps": 2, "contexts": ((5, 2),), "mom2_corpus": "task"},
    "easyeditor-kn": {"steps": 2},
    "easyeditor-ike": {"k": 3},
}
MARGINS = {"lr": 0.1, "alpha": 0.1, "beta": 0.4, "gamma": 0.2}
TINY_NEWER: dict[str, dict[str, Any]] = {
    "easyeditor-alphaedit": {**TINY["easyeditor-memit"], "nullspace_threshold": 1e-2},
    "easyeditor-emmet": TINY["easyeditor-memit"],
    "easyeditor-grace": {"layer": 2, "steps": 2},
    "easyeditor-lora": {"steps": 2},
    "easyeditor-r-rome": TINY["easyeditor-rome"],
    "easyeditor-ultraedit": {"warmup": 3},
    "easyeditor-wise": {"layer": 2, "steps": 2, "contexts": ((5, 2),), **MARGINS},
}


def ready(backbone: Backbone, name: str, training: Sequence[Case], **options: Any) -> Any:
    return prepare(xkeb.load_editor(name, **options), backbone, training)


def error(ours: Any, its: Any) -> float:
    """The largest relative Frobenius error of a parameter's change."""
    mine, theirs = ours.deltas(), its.deltas()
    assert mine.keys() == theirs.keys()
    return max(float((mine[name] - delta).norm() / delta.norm()) for name, delta in theirs.items())


def state(backbone: Backbone) -> Callable[[], None]:
    """A check that the model is as it is now: the same tensors with the same bits, modules, hooks and flags."""
    model = backbone.model
    parameters = [(p, p.data_ptr(), p.dtype, p.detach().clone()) for p in model.parameters()]
    modules = [
        (path, id(part), len(part._forward_hooks), len(part._forward_pre_hooks)) for path, part in _modules(model)
    ]

    def check() -> None:
        for parameter, pointer, dtype, values in parameters:
            assert (parameter.data_ptr(), parameter.dtype) == (pointer, dtype)
            assert torch.equal(parameter, values)
            assert not parameter.requires_grad and parameter.grad is None
        assert modules == [
            (path, id(part), len(part._forward_hooks), len(part._forward_pre_hooks)) for path, part in _modules(model)
        ]

    return check


def _modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(model.named_modules(remove_duplicate=False))
