"""Edits that came to nothing: a change with values that are no numbers, or infinite."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from xkeb.editing.changes import Change, LowRankChange, WeightChange


def why_not_finite(change: Change) -> str | None:
    """Why a change is none, in words; None where all that it adds to weights is finite.

    Of a change that isn't about weights, nothing is known here.
    """
    if not isinstance(change, WeightChange):
        return None
    wrong = [name for name, tensor in _tensors(change) if not bool(torch.isfinite(tensor).all())]
    if not wrong:
        return None
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f"the edit has values that are infinite or no numbers, in {wrong[0]}{more}"


def _tensors(change: WeightChange) -> Iterator[tuple[str, torch.Tensor]]:
    """What to look at: of a low-rank update its factors, and the product only where that could overflow."""
    if not isinstance(change, LowRankChange):
        yield from change.deltas().items()
        return
    for path, (left, right) in change.factors.items():
        yield path, left
        yield path, right
        bound = (
            left.double().norm(dim=1).max() * right.double().norm(dim=0).max()
        )  # of any element, by Cauchy and Schwarz
        if not bound < torch.finfo(left.dtype).max:
            yield path, left @ right
