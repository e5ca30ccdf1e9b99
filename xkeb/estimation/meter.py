"""What a computation holds in memory, and how much work it is: every operation of torch is looked at."""

from __future__ import annotations

import functools
import gc
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from xkeb.models.onednn import PRODUCT

aten = torch.ops.aten


def _of_linear(inputs: torch.Tensor, weight: torch.Tensor, *_: Any, out_val: torch.Tensor) -> int:
    """weight: [d_out, d_in]."""
    return 2 * out_val.numel() * weight.shape[-1]


FLOPS = {
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
}
if PRODUCT is not None:
    FLOPS[PRODUCT] = _of_linear
"""Of an operation: how many there are, from the shapes of what it is given."""

INTENSITY = 64
"""Operations of a product that take about as long as moving a byte does, which goes on meanwhile. A product with a 7B model's
matrix for a few rows waits for the matrix; one for 64 rows in bfloat16, or 128 in float32, doesn't."""


@functools.cache
def is_composite(func: OpOverload) -> bool:
    """Whether an operation is made of others, on every device."""
    return bool(func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd))


def tensors_in(*values: Any) -> list[torch.Tensor]:
    """The tensors among what an operation is given, or gives: they stand alone, in lists and by name."""
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tensors_in(*value)
        elif isinstance(value, dict):
            found += tensors_in(*value.values())
    return found


@dataclass(frozen=True, slots=True)
class Work:
    """How much there is to do. What of it takes the time depends on the machine."""

    flops: float = 0.0
    """Additions and multiplications of matrix products."""
    moved: float = 0.0
    """Bytes read and written by all other operations, and by products beyond what they have time for."""
    operations: float = 0.0
    """Calls of torch, each of which takes a while however little it does."""

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.moved + other.moved, self.operations + other.operations)

    def __mul__(self, times: float) -> Work:
        return Work(self.flops * times, self.moved * times, self.operations * times)

    def __sub__(self, other: Work) -> Work:
        return self + other * -1.0


@dataclass(slots=True)
class Interval:
    """A part of what a meter saw."""

    work: Work = field(default_factory=Work)
    peak: int = 0
    """Most bytes alive at once, beyond those that were alive before."""
    kept: int = 0
    """Bytes alive after it, beyond those that were alive before."""


class Meter(TorchDispatchMode):
    """While it is entered, keeps the bytes of all tensors that live, by their storages: views and ties count once.

    What a kernel takes for itself, and gives back before it returns, is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        """Bytes of the storages that are alive now."""
        self.work = Work()
        """Done so far."""
        self.peaks: dict[str, int] = defaultdict(int)
        """Most bytes alive at once, by phase."""
        self.works: dict[str, Work] = defaultdict(Work)
        """Work by phase."""
        self._known: dict[int, weakref.ref[Any]] = {}
        self._phase, self._peak, self._before = "", 0, Work()

    @property
    def peak(self) -> int:
        """Most bytes alive at once, over all phases that are over."""
        return max(self.peaks.values())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What happens inside is counted under this name, and not under that of the phase around it."""
        outer = self._phase
        self.turn(name)
        try:
            yield
        finally:
            self.turn(outer)

    def turn(self, name: str) -> None:
        """Another phase begins."""
        self.peaks[self._phase] = max(self.peaks[self._phase], self._peak)
        self.works[self._phase] += self.work - self._before
        self._phase, self._peak, self._before = name, self.live, self.work

    @contextmanager
    def interval(self) -> Iterator[Interval]:
        """What happens inside, told when it is over; it counts as ever."""
        outer, live, work = self._peak, self.live, self.work
        self._peak = live
        interval = Interval()
        try:
            yield interval
        finally:
            interval.work, interval.peak, interval.kept = self.work - work, self._peak - live, self.live - live
            self._peak = max(outer, self._peak)

    @contextmanager
    def on_trial(self) -> Iterator[None]:
        """What happens inside counts for nothing, but for what stays of it."""
        peak, work = self._peak, self.work
        try:
            yield
        finally:
            self._peak, self.work = peak, work

    @contextmanager
    def uncounted(self, work: Work, peak: int) -> Iterator[None]:
        """What happens inside counts as this work, and as so many bytes that were alive at once; what stays of it is alive."""
        self._peak = max(self._peak, self.live + peak)
        total = self.work + work
        try:
            yield
        finally:
            self.work = total

    def disregard(self) -> None:
        """Whatever lives now is never counted."""
        tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
        self.let_be(tensor for tensor in tensors if tensor.layout == torch.strided and not tensor.is_meta)

    def let_be(self, tensors: Iterable[torch.Tensor]) -> None:
        """Tensors that are somewhere else, and so are never counted, unless they are already."""
        for tensor in tensors:
            if id(tensor.untyped_storage()) not in self._known:
                self._take(tensor.untyped_storage(), 0)

    def hold(self, tensors: Iterable[torch.Tensor]) -> None:
        """Counts tensors that were there before, or that came by other ways than an operation: a file, say."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if id(storage) not in self._known:
                self._take(storage, storage.nbytes())
        self._peak = max(self._peak, self.live)

    def _take(self, storage: torch.UntypedStorage, size: int) -> None:
        key = id(storage)
        self._known[key] = weakref.ref(storage, lambda _: self._gone(key, size))
        self.live += size

    def _gone(self, key: int, size: int) -> None:
        self.live -= size
        del self._known[key]

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.ops.prim.device.default:
            return self.place(*args)
        if func._overloadpacket not in FLOPS and is_composite(func):
            with self:  # in parts, so that what it makes on the way is seen
                return func.decompose(*args, **kwargs)
        out = self.call(func, args, kwargs)
        tensors = tensors_in(out, args, kwargs)
        self.hold(tensors)  # what goes in may have come from a file
        if not func.is_view:
            counted = FLOPS.get(func._overloadpacket)
            flops = counted(*args, **kwargs, out_val=out) if counted else 0
            moved = sum(tensor.nbytes for tensor in tensors)
            self.work += Work(flops, max(0.0, moved - flops / INTENSITY), 1)
        return out

    def place(self, tensor: torch.Tensor) -> torch.device:
        """The device that a tensor is on."""
        return torch.ops.prim.device.default(tensor)

    def call(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Does the operation."""
        return func(*args, **kwargs)
