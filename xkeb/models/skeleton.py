"""A model without its weights: what a plan says of memory, work and downloads is computed from it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from xkeb.models.spec import ModelSpec


@dataclass(frozen=True)
class Skeleton:
    """A backbone without its weights."""

    model: PreTrainedModel
    """Its parameters have shapes and no memory (device ``meta``)."""
    missing: str | None = None
    """What must be got before it can be loaded, as a sentence; None where it stands on this machine."""
    download: int = 0
    """Bytes that loading it would fetch from the hub."""

    def __post_init__(self) -> None:
        self.model.tie_weights()  # where modules are made without memory, each has parameters of its own

    @functools.cached_property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    def spec(self, name: str) -> ModelSpec:
        """What editors are configured for.

        Raises:
            RequestError: the model's layout can't be found.
        """
        return ModelSpec.of(name, self.model)

    def n_bytes(self, dtype: torch.dtype) -> int:
        """Of the weights in a precision."""
        return self.n_parameters * dtype.itemsize
