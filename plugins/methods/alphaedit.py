"""AlphaEdit: MEMIT's objective in the null space of what is to be kept (Fang et al., 2025, https://arxiv.org/abs/2410.02355)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from xkeb.editing.changes import LowRankChange
from xkeb.editing.editor import known
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.spec import ModelSpec
from xkeb.types import Edit
from xkeb_plugins.methods.locate.spread import Factors, Share
from xkeb_plugins.methods.locate.spread_editor import SpreadEditor

KeySums = Mapping[str, torch.Tensor]
"""Of each edited layer, by its number, ``K_p K_p^T`` over all earlier edits, [d_in, d_in] float64 on the
host; empty where there are none."""


@dataclass
class AlphaEdit(SpreadEditor):
    """AlphaEdit: MEMIT's shares, written where no key of the corpus reaches, beside the keys of earlier edits."""

    name: ClassVar[str] = "alphaedit"

    lr: float = 0.1
    weight_decay: float = 0.5
    clamp: float = 0.75
    """Largest norm of the value's change, in norms of the value."""
    nullspace_threshold: float | None = None
    """Eigenvectors of the keys' second moment with smaller eigenvalues are free to be written to. None: the tuned one, or
    2e-2, the authors' for Llama 3."""
    l2: float | None = None
    """Weight of the update's squared norm. None: the tuned one, or 10, the authors' for Llama 3."""

    def usual(self, spec: ModelSpec) -> dict[str, Any]:
        return super().usual(spec) | {"nullspace_threshold": 2e-2, "l2": 10.0}

    def digest_moment(self, moment: torch.Tensor, n_texts: int) -> torch.Tensor:
        """The projection P on the eigenvectors whose eigenvalues are below the threshold.

        Raises:
            RequestError: there are none.
        """
        values, vectors = torch.linalg.eigh(moment)
        free = values < known(self.nullspace_threshold)
        if not bool(free.any()):
            raise RequestError(
                f"{self.name}.nullspace_threshold is {self.nullspace_threshold}; the smallest eigenvalue of the keys' second "
                f"moment over {n_texts} texts is {float(values[0]):.2g}, so nothing could be written."
            )
        return (vectors * free) @ vectors.T

    def write_share(self, share: Share, statistic: torch.Tensor) -> Factors:
        """The update where nothing was edited before."""
        return share.residual.float().T, project(share.keys, statistic, known(self.l2)).float()

    def edit_after(
        self, backbone: Backbone, edits: Sequence[Edit], past: KeySums
    ) -> tuple[LowRankChange, dict[str, torch.Tensor]]:
        """One change that makes all the edits, to a model that was edited before.

        Args:
            backbone: with the earlier changes applied.
            past: what this method returned with the change before; empty for the first.

        Returns:
            The change, which comes on top of the earlier ones, and the sums with the keys of these edits.
        """
        me = self.configure(backbone.spec)
        sums = dict(past)

        def write(share: Share, projection: torch.Tensor) -> Factors:
            name, keys = str(share.layer), share.keys.double()
            earlier = past[name].to(keys.device) if name in past else None
            own = (keys.T @ keys).cpu()
            sums[name] = past[name] + own if name in past else own
            return share.residual.float().T, project(keys, projection, known(me.l2), earlier).float()

        (change,) = me._write(backbone, edits, me.find_values(backbone, edits), [range(len(edits))], write)
        return change, sums


def project(keys: torch.Tensor, projection: torch.Tensor, l2: float, past: torch.Tensor | None = None) -> torch.Tensor:
    """``K^T P (K_p K_p^T P + K K^T P + l2 I)^-1``, the right factor of an update whose left factor is R.

    Its transpose solves ``(P (K K^T + K_p K_p^T) + l2 I) X = P K``. P is a projection, so with
    ``Y = (P K_p K_p^T P + l2 I)^-1 P K`` it is ``X = Y (I + K^T Y)^-1``: two symmetric systems, one of them as small as K.

    Args:
        keys: [n, d_in] K, a fact a row.
        projection: [d_in, d_in] P, float64.
        past: [d_in, d_in] ``K_p K_p^T``, float64; None for zero, where ``Y = P K / l2``.

    Returns:
        [n, d_in] float64
    """
    columns = keys.double().T
    free = projection @ columns  # (d_in, n)
    if past is None:
        solved = free / l2
    else:
        held = projection @ past @ projection
        held.diagonal().add_(l2)
        solved = torch.cholesky_solve(free, torch.linalg.cholesky(held))
    inner = torch.eye(columns.shape[1], dtype=torch.float64, device=keys.device) + columns.T @ solved
    return torch.linalg.solve(inner, solved.T)
