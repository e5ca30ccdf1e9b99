"""Values written layer by layer from below, each layer closing a share of what is missing (Meng et al., 2023, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from xkeb.editing.changes import LowRankChange
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.locate.optimize_value import KeyValue
from xkeb_plugins.methods.locate.post_norm import write_through_norm
from xkeb_plugins.methods.locate.subject_states import States, SubjectStates

Factors = tuple[torch.Tensor, torch.Tensor]
"""left [d_out, n] and right [n, d_in] of an update ``left @ right``."""


@dataclass(frozen=True, slots=True)
class Target:
    """An edit, and the value that it should have where the last edited layer ends."""

    edit: Edit
    fact: KeyValue


@dataclass(frozen=True, slots=True)
class Share:
    """What one layer has to write of n edits that go into one change."""

    layer: int
    residual: torch.Tensor
    """[n, d_out] R: what should be added to the output of the down-projection, an edit a row."""
    keys: torch.Tensor
    """[n, d_in] K: its input at the subjects, under the updates of the layers below."""
    languages: tuple[str, ...]
    """Of the edits, in order."""


def spread(
    backbone: Backbone,
    layers: Sequence[int],
    targets: Sequence[Target],
    prefixes: Sequence[Sequence[str]],
    groups: Sequence[Sequence[int]],
    write: Callable[[Share], Factors],
) -> list[LowRankChange]:
    """One change for each group of edits, each measured under the updates of its own change to the layers before.

    Args:
        layers: from low to high.
        prefixes: in groups, see `SubjectStates`.
        groups: indices of the edits that go into one change: all, or one each.
        write: the update of one layer that writes its share.
    """
    edits = [target.edit for target in targets]
    positions = SubjectStates(backbone, edits, prefixes)
    moves = _moves(backbone, layers[-1], [target.fact for target in targets])  # (n, D)
    changes = [LowRankChange({}) for _ in groups]
    baseline: torch.Tensor | None = None
    for i, layer in enumerate(layers):
        states = _under(backbone, changes, positions, layer, layers[-1])
        baseline = states.hidden if baseline is None else baseline
        # z - h over the layers that are left (Eq. 20); as a difference, so that nothing is written of what is there.
        residual = (moves - (states.hidden - baseline)) / (len(layers) - i)
        path = backbone.layout.after_mlp(layer)
        if path is not None:
            residual = write_through_norm(backbone.module(path), states.outputs, residual)
        for change, group in zip(changes, groups, strict=True):
            members = list(group)
            languages = tuple(sorted({edits[k].language for k in members}))
            share = Share(layer, residual[members], states.keys[members], languages)
            change.factors[backbone.layout.down(layer)] = write(share)
    return changes


def _moves(backbone: Backbone, last: int, facts: Sequence[KeyValue]) -> torch.Tensor:
    """What should be added to the residual stream that leaves the last edited layer, [n, hidden_size]: z - h."""
    old, new = (torch.stack([getattr(fact, name) for fact in facts]) for name in ("old_value", "new_value"))
    path = backbone.layout.after_mlp(last)
    if path is None:
        return new - old
    norm = backbone.module(path)
    with torch.no_grad():
        return norm(new) - norm(old)


def _under(
    backbone: Backbone, changes: Sequence[LowRankChange], positions: SubjectStates, layer: int, last: int
) -> States:
    """What stands at the subjects under the changes as far as they are made: one for all edits, or one for each."""
    if not changes[0].factors:
        return positions.measure(layer, last)
    if len(changes) == 1:
        with changes[0].applied(backbone):
            return positions.measure(layer, last)
    with LowRankChange.batched(backbone, changes).applied(backbone) as intervention:
        return positions.measure(layer, last, intervention)


def solve_ridge(keys: torch.Tensor, lower: torch.Tensor, weight: float) -> torch.Tensor:
    """``(weight I + K^T C^-1 K)^-1 K^T C^-1``: the right factor of an update whose left factor is R.

    By the Woodbury identity it is MEMIT's ``K^T (weight C + K K^T)^-1``, with few columns in K and the factor of C as it is.

    Args:
        keys: [n, d_in] K, a fact a row.
        lower: Cholesky factor of C, [d_in, d_in] float64.

    Returns:
        [n, d_in] float64

    Raises:
        RequestError: there is no weight, and two facts have the same key.
    """
    columns = keys.double().T
    solved = torch.cholesky_solve(columns, lower)  # (d_in, n)
    inner = columns.T @ solved + weight * torch.eye(len(keys), dtype=torch.float64, device=keys.device)
    right, failed = torch.linalg.solve_ex(inner, solved.T)
    if int(failed):
        raise RequestError(f"Two of {len(keys)} edits have the same key: one change can't make both without a ridge.")
    return right
