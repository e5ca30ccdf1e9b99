"""From a registered name to a loaded backbone."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, runtime_checkable

import torch

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.device import pick_device, pick_dtype
from xkeb.models.skeleton import Skeleton
from xkeb.registry.manager import get_plugins
from xkeb.registry.options import build_with_options


class BackboneLoader(Protocol):
    """What a plugin registers as a backbone: a class whose fields are its ``--model-args``."""

    def load(self, device: torch.device, dtype: torch.dtype) -> Backbone:
        """Loads the model onto `device` in `dtype`."""
        ...


@runtime_checkable
class SkeletonLoader(Protocol):
    """A loader that knows the model before it loads it."""

    def skeleton(self) -> Skeleton | None:
        """What the plan needs to know of the model; None where that isn't known. Refuses what could not be loaded."""
        ...


@runtime_checkable
class NamedLoader(Protocol):
    """A loader of many models, each with a name of its own in tables and folders."""

    @property
    def display_name(self) -> str: ...


@runtime_checkable
class SuggestingLoader(Protocol):
    """A loader that says which methods a run without ``--methods`` runs on its model."""

    @property
    def methods(self) -> tuple[str, ...]: ...


def make_loader(name: str, **model_args: Any) -> BackboneLoader:
    """The loader registered as `name`, with its options.

    Raises:
        RequestError: an unknown name or option.
    """
    if "/" in name and name not in get_plugins().models:
        raise RequestError(
            f"Unknown model {name!r}: a folder, or a repository of the hub, is an option of a model (xkeb ls models): "
            f"--model-args path={name}."
        )
    loader: BackboneLoader = build_with_options("model", name, get_plugins().models.get(name), model_args)
    return loader


def display_name(name: str, loader: BackboneLoader) -> str:
    """What tables and folders call the model: what its loader says, or else the registered name."""
    return loader.display_name if isinstance(loader, NamedLoader) else name


def find_skeleton(loader: BackboneLoader) -> Skeleton | None:
    """The model without its weights, where its loader knows it."""
    return loader.skeleton() if isinstance(loader, SkeletonLoader) else None


def load_backbone(name: str, *, device: str = "auto", dtype: str = "auto", **model_args: Any) -> Backbone:
    """Loads the backbone registered as `name`, ready for inference.

    Args:
        name: a registered name; ``NAME:DISPLAY`` gives the model a display name of one's own.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: ``auto`` (float32 on a CPU, bfloat16 on a GPU), ``float32`` or ``bfloat16``.
        model_args: the backbone's own options, e.g. ``path`` for a local folder.

    Raises:
        RequestError: an unknown name or option, or weights that aren't where they should be.
    """
    registered, _, shown = name.partition(":")
    loader = make_loader(registered, **model_args)
    place = pick_device(device)
    backbone = loader.load(place, pick_dtype(dtype, place))
    if not isinstance(backbone, Backbone):
        raise RequestError(f"The loader of {name!r} gave a {type(backbone).__name__}; an xkeb.Backbone was expected.")
    if shown:
        backbone.spec = dataclasses.replace(backbone.spec, name=shown)
    return backbone.prepare()
