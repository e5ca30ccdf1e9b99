"""What enters a module in a pass."""

from __future__ import annotations

from collections.abc import Callable

import torch


@torch.no_grad()
def module_inputs(module: torch.nn.Module, run: Callable[[], object]) -> torch.Tensor:
    """What enters `module` in the pass that `run` makes, [..., d_in] float32."""
    seen: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float()))
    try:
        run()
    finally:
        handle.remove()
    return seen[0]
