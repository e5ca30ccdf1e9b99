"""What EasyEdit's code finds when it runs: its device, its precision, a model that it may leave in any state."""

from __future__ import annotations

import io
import logging
import random
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from xkeb.models.backbone import Backbone
from xkeb.utils.attributes import replaced_attribute

LOG = logging.getLogger(__name__)


@contextmanager
def sandbox(backbone: Backbone, written: Sequence[str] = ()) -> Iterator[None]:
    """Whatever happens inside, exceptions included, the model is afterwards as it was, to the bit.

    Inside, a model in half precision is in float32, ``cuda:0`` means the model's device, what is printed goes to the log,
    and of what its code is warned nobody is told.

    Args:
        written: the parameters that may be written to.
    """
    log = _Log()
    with (
        _undone(backbone.model),
        _copies(backbone.model, set(written)),
        torch.enable_grad(),
        _on_device(backbone.device),
        redirect_stdout(log),
        redirect_stderr(log),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


PLACING = ((torch.Tensor, "to"), (torch, "tensor"), (torch, "zeros"))
"""The calls by which its code places tensors. A mode that looks at every call of torch would do without such a list, and would
cost its code 6% of the time of a forward pass."""


@contextmanager
def _on_device(device: torch.device) -> Iterator[None]:
    """``cuda`` in its code, as a string or a device, is the model's device."""

    def mapped(value: Any) -> Any:
        named = isinstance(value, str | torch.device) and re.fullmatch(r"cuda(:\d+)?", str(value))
        return device if named else value

    def placing(act: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: act(*map(mapped, args), **{name: mapped(v) for name, v in kwargs.items()})

    with ExitStack() as stack:
        for owner, name in PLACING:
            stack.enter_context(replaced_attribute(owner, name, placing(getattr(owner, name))))
        yield


class _Log(io.TextIOBase):
    """A stream whose lines go to the log."""

    def write(self, text: str) -> int:
        if text.strip():
            LOG.debug("%s", text.strip())
        return len(text)


@contextmanager
def _copies(model: PreTrainedModel, written: set[str]) -> Iterator[None]:
    """The model with copies of the parameters that are written to, and of all that are in half precision, in float32:
    products of float32 vectors with bfloat16 ones are an error in its code. The originals are put back, not copied back."""
    originals = [(parameter, parameter.data) for parameter in model.parameters()]
    try:
        for name, parameter in model.named_parameters():
            if parameter.dtype in (torch.bfloat16, torch.float16):
                parameter.data = parameter.data.float()
            elif name in written:
                parameter.data = parameter.data.clone()
        yield
    finally:
        for parameter, data in originals:
            parameter.grad = None
            parameter.requires_grad_(False)
            parameter.data = data


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@contextmanager
def _undone(model: PreTrainedModel) -> Iterator[None]:
    """Modules that it put in the place of others, attributes that it set on them, and hooks that it left behind, taken away."""
    before = [
        (module, dict(module._modules), {name: set(vars(module)[name]) for name in HOOKS}, _attributes(module))
        for module in model.modules()
    ]
    try:
        yield
    finally:
        for module, children, hooks, attributes in before:
            module._modules.clear()
            module._modules.update(children)
            for name, kept in hooks.items():
                for key in vars(module)[name].keys() - kept:
                    del vars(module)[name][key]
            for name in _attributes(module).keys() - attributes.keys():
                del vars(module)[name]
            vars(module).update(attributes)


def _attributes(module: torch.nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, what its code draws by torch, numpy and Python is the same each time; afterwards they go on where they were."""
    drawn, chosen = np.random.get_state(), random.getstate()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(drawn)
            random.setstate(chosen)


@contextmanager
def tuples(backbone: Backbone) -> Iterator[None]:
    """Decoder layers that give a tuple, as those of 2023 did: its MEMIT takes the first of what a layer gives."""
    layout = backbone.layout
    layers = [backbone.module(layout.layer(i)) for i in range(backbone.n_layers)]

    def wrap(_: Any, inputs: Any, output: Any) -> tuple[Any, ...]:
        return output if isinstance(output, tuple) else (output,)

    def unwrap(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0][0] if isinstance(inputs[0], tuple) else inputs[0], *inputs[1:])

    handles = [layer.register_forward_hook(wrap) for layer in layers]
    norms = [backbone.module(layout.norm)] if layout.norm is not None else []
    handles += [part.register_forward_pre_hook(unwrap) for part in (*layers, *norms)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
