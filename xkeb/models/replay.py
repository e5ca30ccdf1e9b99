"""What a layer makes on the way to one of its modules, given again instead of made again.

Where the same hidden states enter a layer in every pass, and only what leaves one of its modules is changed from pass to pass,
the attention and all else that ended before stays what it was. The layer's own code still runs; its modules answer from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from xkeb.utils.attributes import replaced_attribute

Take = Callable[[Any], Any]


class Replay:
    """The outputs of a layer's modules that have matrices, of those that end before one of them does, that one included."""

    def __init__(self, layer: nn.Module, upto: nn.Module) -> None:
        """
        Args:
            upto: the layer itself, or a module of it.
        """
        self.layer, self.upto = layer, upto
        self.outputs: dict[nn.Module, Any] = {}
        self._versions: dict[nn.Module, list[int]] = {}
        self._again: set[nn.Module] = set()
        """Those that were called more than once, and so don't give one thing."""

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Inside, the layer is passed once, and what its modules give is kept."""
        with ExitStack() as stack:
            for module in self.layer.modules():
                if any(parameter.ndim > 1 for parameter in module.parameters()):
                    forward = partial(self._record, module, module.forward)
                    stack.enter_context(replaced_attribute(module, "forward", forward))
            yield
        for module in self._again:
            self.outputs.pop(module, None)

    def _record(self, module: nn.Module, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        over = self.upto in self.outputs
        output = original(*args, **kwargs)
        if module in self.outputs:
            self._again.add(module)
        if not over and self.upto not in set(module.modules()) - {module}:
            for part in module.modules():  # it answers for its parts
                self.outputs.pop(part, None)
            self.outputs[module], self._versions[module] = output, _versions(output)
        return output

    @contextmanager
    def answering(self, take: Take) -> Iterator[None]:
        """Inside, these modules give what they gave, hooks aside, which are called as ever.

        Args:
            take: what is to be given of an output: some of its rows.
        """
        with ExitStack() as stack:
            for module, output in self.outputs.items():
                stack.enter_context(replaced_attribute(module, "forward", partial(_given, take, output)))
            yield

    def check(self, shape: torch.Size) -> None:
        """Forgets the outputs that can't be given again: those not laid out in rows and columns, and those that were
        written into.

        Args:
            shape: (B, S) of the pass that was recorded.
        """
        for module, output in list(self.outputs.items()):
            if not _laid_out(output, shape) or _versions(output) != self._versions[module]:
                del self.outputs[module]


def _given(take: Take, output: Any, *_: Any, **__: Any) -> Any:
    return take(output)


def _tensors(output: Any) -> list[Any]:
    return [one for one in (output if isinstance(output, tuple | list) else (output,)) if one is not None]


def _laid_out(output: Any, shape: torch.Size) -> bool:
    return all(isinstance(one, torch.Tensor) and one.shape[:2] == shape for one in _tensors(output))


def _versions(output: Any) -> list[int]:
    """How often each tensor was written into."""
    return [one._version for one in _tensors(output) if isinstance(one, torch.Tensor)]
