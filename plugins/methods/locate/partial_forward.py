"""A forward pass that ends at a layer: what stands above it would run for nothing."""

from __future__ import annotations

from typing import Any

import torch

from xkeb.models.backbone import Backbone


class _Done(Exception):  # noqa: N818 - nothing went wrong
    """The last layer that is looked at has run."""


def run_up_to(backbone: Backbone, layer: int, ids: torch.Tensor) -> None:
    """Passes `ids`, [B, T], padded on the right, through the layers up to and with `layer`, for the hooks on them."""

    def stop(*_: Any) -> None:
        raise _Done

    # The last hook of its layer, so that those that look at it have run.
    handle = backbone.module(backbone.layout.layer(layer)).register_forward_hook(stop)
    try:
        backbone.hidden(ids)
    except _Done:
        pass
    finally:
        handle.remove()
