"""Several edits of one model as one change: what a later change adds to an earlier one."""

from __future__ import annotations

from typing import Any, Protocol, Self, runtime_checkable

import torch

from xkeb.editing.changes import Change, DenseChange, LowRankChange, WeightChange
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone


@runtime_checkable
class Composable(Protocol):
    """A change that composes in its own kind, such as a memory."""

    def followed_by(self, later: Any) -> Self:
        """Both as one change.

        Raises:
            RequestError: they can't be.
        """
        ...


def compose(first: Change, later: Change) -> Change:
    """A change that does what `later` does on top of `first`.

    Changes of weights add up: `later` was made to the model as `first` leaves it. Low-rank ones stay so, with the ranks added,
    as long as that takes less memory than the matrices themselves.

    Raises:
        RequestError: their kinds can't be composed.
    """
    if type(first) is type(later) and isinstance(first, Composable):
        return first.followed_by(later)
    if isinstance(first, LowRankChange) and isinstance(later, LowRankChange):
        joined = _joined(first, later)
        return joined if _is_smaller(joined) else DenseChange(joined.deltas())
    if isinstance(first, WeightChange) and isinstance(later, WeightChange):
        total = first.deltas()
        for name, delta in later.deltas().items():
            total[name] = total[name] + delta if name in total else delta
        return DenseChange(total)
    kinds = " and ".join(dict.fromkeys(type(one).__name__ for one in (first, later)))
    raise RequestError(f"Changes of the kind {kinds} can't be made on top of one another.")


def settled(change: Change, backbone: Backbone) -> Change:
    """The change with tensors of its own, each beside its parameter and in the usual order of memory: a product of tensors in
    another order has other last bits, and one that was saved and loaded shall have the same."""
    if isinstance(change, LowRankChange):
        pairs = change.factors.items()
        return LowRankChange(
            {path: (_at(left, path, backbone), _at(right, path, backbone)) for path, (left, right) in pairs}
        )
    if isinstance(change, DenseChange):
        return DenseChange(
            {name: _at(delta, name.rpartition(".")[0], backbone, name) for name, delta in change.updates.items()}
        )
    return change


def _at(tensor: torch.Tensor, path: str, backbone: Backbone, name: str = "") -> torch.Tensor:
    device = backbone.parameter(name or f"{path}.weight").device
    return tensor.detach().to(device).clone(memory_format=torch.contiguous_format)


def _joined(first: LowRankChange, later: LowRankChange) -> LowRankChange:
    factors = dict(first.factors)
    for path, (left, right) in later.factors.items():
        if path in factors:
            earlier = factors[path]
            left, right = torch.cat([earlier[0], left.to(earlier[0])], 1), torch.cat([earlier[1], right.to(earlier[1])])
        factors[path] = (left, right)
    return LowRankChange(factors)


def _is_smaller(change: LowRankChange) -> bool:
    """Whether every update takes less memory as factors than as a matrix."""
    return all(
        left.shape[1] * (left.shape[0] + right.shape[1]) <= left.shape[0] * right.shape[1]
        for left, right in change.factors.values()
    )
