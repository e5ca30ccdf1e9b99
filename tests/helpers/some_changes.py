"""Changes of every kind to a tiny model, made of noise, and what it answers under them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import xkeb
from xkeb.editing.changes import Change, ContextChange, DenseChange, LowRankChange
from xkeb.evaluation.probing import case_queries, predict_edited
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Prediction


def fingerprint(backbone: Backbone) -> str:
    """sha256 over every parameter and buffer, bit by bit."""
    state = hashlib.sha256()
    model = backbone.model
    for name, tensor in sorted([*model.named_parameters(), *model.named_buffers()], key=lambda pair: pair[0]):
        state.update(name.encode())
        state.update(tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def hooks(backbone: Backbone) -> list[str]:
    """Paths of the modules that have a hook."""
    return [p for p, m in backbone.model.named_modules() if m._forward_hooks or m._forward_pre_hooks]


def noise(*shape: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def low_rank(backbone: Backbone, seed: int, layers: Sequence[int] = (1,), rank: int = 1) -> LowRankChange:
    layout = backbone.layout
    return LowRankChange(
        {
            layout.down(layer): (
                noise(layout.hidden_size, rank, seed=seed + layer, scale=0.7),
                noise(rank, layout.intermediate_size, seed=seed + layer + 1, scale=0.7),
            )
            for layer in layers
        }
    )


def dense(backbone: Backbone, seed: int, layers: Sequence[int] = (1,)) -> DenseChange:
    layout = backbone.layout
    shape = (layout.hidden_size, layout.intermediate_size)
    return DenseChange(
        {f"{layout.down(layer)}.weight": noise(*shape, seed=seed + layer, scale=0.3) for layer in layers}
    )


def context(_: Backbone, seed: int) -> ContextChange:
    return ContextChange("A word before. " * (seed + 1))


KINDS: dict[str, Callable[[Backbone, int], Any]] = {"low-rank": low_rank, "dense": dense, "context": context}


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Callable[[Backbone, int], Any]:
    """A change of a kind, by a seed."""
    return KINDS[request.param]


@pytest.fixture(scope="session")
def cases() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh"))[:4]


@pytest.fixture(scope="session", params=["llama", "gemma3", "gpt2"])
def half(request: pytest.FixtureRequest, tiny_folders: dict[str, Path]) -> Backbone:
    """The tiny backbones in bfloat16."""
    return xkeb.load_backbone("hf", path=str(tiny_folders[request.param]), device="cpu", dtype="bfloat16")


def ids(answers: Sequence[Sequence[Prediction]]) -> list[list[tuple[int, ...]]]:
    return [[answer.ids for answer in row] for row in answers]


def one_by_one(backbone: Backbone, changes: Sequence[Change], cases: Sequence[Case]) -> list[list[tuple[int, ...]]]:
    return ids(
        [predict_edited(backbone, change, case_queries(case, 0)) for change, case in zip(changes, cases, strict=True)]
    )


def untouched(backbone: Backbone, cases: Sequence[Case]) -> list[list[tuple[int, ...]]]:
    return one_by_one(backbone, [ContextChange("")] * len(cases), cases)
