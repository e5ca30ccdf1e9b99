"""Tensors that have shapes and no memory, for running the real code on.

Weights, activations, gradients, whatever has floating-point numbers, is a `FakeTensor`: an operation on it works out what
shape comes out, and nothing else. Indices, lengths and masks made of them are real, so that code which depends on them takes
the way that it takes in a run. Where code looks at a number that isn't there, it sees a one, or a zero if it is a whole one.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._ops import OpOverload
from torch._subclasses.fake_impls import op_implementations_checks
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager
from torch.utils._pytree import tree_map_only

from xkeb.estimation.meter import Meter, tensors_in

aten = torch.ops.aten
HOST = torch.device("cpu")
SAME = (aten.allclose.default, aten.equal.default)
SELECTING = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten.nonzero.default)
"""What has as many results as a mask has places."""
BOTH = (aten.bitwise_and.Tensor, aten.logical_and.default)
COMPARED = {
    getattr(aten, name).Scalar: getattr(operator, name) for name in ("lt", "le", "gt", "ge", "eq", "ne")
}  # fmt: skip
"""With a number, as a loss with the one below which it is small enough."""
BEST = (aten.argmax.default, aten.argmin.default)
FILLED = (aten.arange, aten.full, aten.scalar_tensor)
"""What makes whole numbers of whole numbers, unless told otherwise."""
WHOLE = (aten.randperm, aten.randint)
"""What makes them of anything."""
SIMPLE = (aten.view, aten._unsafe_view, aten.slice, aten.embedding)
"""What `FakeTensorMode` treats apart for the sake of sizes that aren't known; here all are."""


class FakeTensors(Meter):
    """A meter under which floating-point tensors are fake."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._made: dict[Any, Any] = {}
        """What operations made of tensors of some shapes: a `Shape` for each tensor."""

    def call(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors = tensors_in(args, kwargs)
        if not any(isinstance(tensor, FakeTensor) for tensor in tensors):
            if tensors or not _is_floating(func, args, kwargs):
                return func(*args, **kwargs)
            if "generator" in kwargs:
                kwargs["generator"] = None
        if func in SAME:
            return True
        if func in BOTH and all(tensor.dtype == torch.bool for tensor in tensors):
            real = [tensor for tensor in tensors if not isinstance(tensor, FakeTensor)]
            if real and real[0].shape == torch.broadcast_shapes(*(tensor.shape for tensor in tensors)):
                return real[0].clone()  # a mask that isn't there holds everything
        if func is aten._local_scalar_dense.default:
            dtype = args[0].dtype
            fill = torch.ones if dtype.is_floating_point or dtype == torch.bool else torch.zeros
            return fill((), dtype=dtype).item()
        if func in COMPARED and args[0].numel() == 1 and args[0].is_floating_point():
            return torch.full(args[0].shape, COMPARED[func](1.0, args[1]))
        if func in SELECTING:
            args = tree_map_only(torch.Tensor, _everything, args)
            if func is aten.nonzero.default:
                return func(*args)
            args = (args[0], _places(args[1]), *args[2:])
        if not all(isinstance(tensor, FakeTensor) for tensor in tensors):
            args, kwargs = tree_map_only(torch.Tensor, self._faked, (args, kwargs))
        out = self._shaped(func, args, kwargs)
        # The first is among however many there are to choose from.
        return torch.zeros(out.shape, dtype=out.dtype) if func in BEST else out

    def place(self, tensor: torch.Tensor) -> torch.device:
        return tensor.fake_device if isinstance(tensor, FakeTensor) else super().place(tensor)

    def _shaped(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What comes out of an operation on fake tensors. Most have a kernel that works out the shape, and the same shapes
        come again and again: `FakeTensorMode` takes several times as long to find both out."""
        tensors = tensors_in(args, kwargs)
        elsewhere = kwargs.get("device", HOST) not in (None, HOST)
        if not tensors or elsewhere or not has_shape_kernel(func) or not all(_is_usual(tensor) for tensor in tensors):
            with self.fake:
                return func(*args, **kwargs)
        kwargs.pop("device", None)  # to such a kernel, all is on the meta device
        key = (func, _told(args), _told(tuple(kwargs.items()))) if makes_anew(func) else None
        if key in self._made:
            return self._wrapped(_empty(self._made[key]))
        with in_kernel_invocation_manager(self.fake):
            out = func(*args, **kwargs)
        if key is not None and _is_anew(out, tensors):
            self._made[key] = tree_map_only(torch.Tensor, Shape.of, out)
        return self._wrapped(out)

    def _wrapped(self, out: Any) -> Any:
        if isinstance(out, list | tuple):
            return type(out)(map(self._wrapped, out))
        if isinstance(out, torch.Tensor) and not isinstance(out, FakeTensor):
            return FakeTensor(self.fake, out, HOST)
        return out

    def _faked(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor if isinstance(tensor, FakeTensor) else self._wrapped(_empty(Shape.of(tensor)))

    def load(self, model: nn.Module, dtype: torch.dtype) -> None:
        """Gives a model on the meta device weights of that precision."""
        copies: dict[int, nn.Parameter] = {}
        for module in model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    if id(parameter) not in copies:
                        with self.fake:
                            weights = torch.empty(parameter.shape, dtype=dtype)
                        copies[id(parameter)] = nn.Parameter(weights, requires_grad=False)
                    module._parameters[name] = copies[id(parameter)]
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer.is_meta:
                    with self.fake:
                        module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
        self.hold([*model.parameters(), *model.buffers()])


@functools.cache
def has_shape_kernel(func: OpOverload) -> bool:
    """Whether the shapes that come out of an operation follow from those that go in, by a kernel of torch's own."""
    if func.namespace == "prim" or not torch._C._dispatch_has_computed_kernel_for_dispatch_key(func.name(), "Meta"):
        return False
    return func._overloadpacket in SIMPLE or not any(special(func) for special, _ in op_implementations_checks)


@functools.cache
def makes_anew(func: OpOverload) -> bool:
    """Whether an operation leaves what it is given alone, and no part of it is in what it gives."""
    schema = func._schema
    return all(one.alias_info is None for one in [*schema.arguments, *schema.returns])


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a tensor that has its storage to itself."""

    size: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Shape:
        return cls(tensor.shape, tensor.stride(), tensor.dtype)


def _empty(shapes: Any) -> Any:
    """Tensors of these shapes, on the meta device."""
    if isinstance(shapes, Shape):
        return torch.empty_strided(shapes.size, shapes.stride, dtype=shapes.dtype, device="meta")
    return type(shapes)(map(_empty, shapes)) if isinstance(shapes, list | tuple) else shapes


def _is_anew(out: Any, given: list[torch.Tensor]) -> bool:
    """Whether each tensor that came out fills a storage that no other shares."""
    tensors = tensors_in(out)
    storages = {tensor.untyped_storage()._cdata for tensor in [*tensors, *given]}
    return len(storages) == len({tensor.untyped_storage()._cdata for tensor in given}) + len(tensors) and all(
        _empty(Shape.of(tensor)).untyped_storage().nbytes() == tensor.untyped_storage().nbytes() for tensor in tensors
    )


def _told(value: Any) -> Any:
    """All of an argument that shapes depend on: 1 isn't 1.0, nor is either True."""
    if isinstance(value, torch.Tensor):
        return Shape.of(value)
    if isinstance(value, list | tuple):
        return tuple(map(_told, value))
    return (type(value), value)


def _is_usual(tensor: torch.Tensor) -> bool:
    """Whether nothing but the shape of a fake tensor is known, on the host."""
    return isinstance(tensor, FakeTensor) and tensor.constant is None and tensor.fake_device == HOST


def copy_fake(tensor: FakeTensor, memo: dict[int, Any]) -> torch.Tensor:
    """For ``FakeTensor.__deepcopy__``. The usual one gives a part that doesn't begin where its storage does a storage that the
    meter never sees let go of."""
    if tensor.storage_offset() == 0:
        return torch.Tensor.__deepcopy__(tensor, memo)
    whole = torch.empty(tensor.untyped_storage().nbytes() // tensor.itemsize, dtype=tensor.dtype)
    return whole.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


def _is_floating(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a new tensor holds floating-point numbers."""
    dtype = kwargs.get("dtype")
    if dtype is None and func._overloadpacket in WHOLE:
        return False
    if dtype is None and func._overloadpacket in FILLED:
        values = args[1:] if func._overloadpacket is aten.full else args
        return any(isinstance(value, float) for value in values)
    return (dtype or torch.get_default_dtype()).is_floating_point


def _everything(tensor: torch.Tensor) -> torch.Tensor:
    """A mask that isn't there holds everything."""
    hidden = isinstance(tensor, FakeTensor) and tensor.dtype == torch.bool
    return torch.ones(tensor.shape, dtype=torch.bool) if hidden else tensor


def _places(indices: Any) -> list[Any]:
    """Indices for masks."""
    places: list[Any] = []
    for index in indices:
        is_mask = index is not None and not isinstance(index, FakeTensor) and index.dtype == torch.bool
        places.extend(index.nonzero(as_tuple=True) if is_mask else [index])
    return places
