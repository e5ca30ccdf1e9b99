"""LangEdit: AlphaEdit in several languages, each in the null space of those before (Sun et al., 2025,
https://arxiv.org/abs/2506.10800)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import PositiveInt

from xkeb.editing.changes import LowRankChange
from xkeb.editing.editor import known
from xkeb.editing.session import State
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.alphaedit import AlphaEdit, project
from xkeb_plugins.methods.locate.spread import Factors, Share

LANGUAGE, TURNS = "language", "turns"
"""In the state: the language of the last batch, as UTF-8, and how often the language has changed."""


@dataclass
class LangEdit(AlphaEdit):
    """LangEdit: AlphaEdit whose null space shrinks by the keys of earlier edits whenever the language changes."""

    name: ClassVar[str] = "langedit"

    corpus_weight: PositiveInt = 100_000
    """What the second moment of the corpus counts as, beside `edits_weight`: the authors' number of samples."""
    edits_weight: PositiveInt = 100
    """What the keys of earlier edits count as at each change of the language: the authors' size of a batch."""

    def digest_moment(self, moment: torch.Tensor, n_texts: int) -> torch.Tensor:
        """The second moment, and AlphaEdit's projection: [2, d_in, d_in] float64."""
        return torch.stack([moment, super().digest_moment(moment, n_texts)])

    def write_share(self, share: Share, statistic: torch.Tensor) -> Factors:
        """AlphaEdit's update."""
        return super().write_share(share, statistic[1])

    def edit_after(
        self, backbone: Backbone, edits: Sequence[Edit], past: State
    ) -> tuple[LowRankChange, dict[str, torch.Tensor]]:
        """One change that makes all the edits, to a model that was edited before.

        Args:
            backbone: with the earlier changes applied.
            edits: in one language.
            past: what this method returned with the change before; empty for the first.

        Returns:
            The change, which comes on top of the earlier ones. And of each layer the sums of AlphaEdit; once the language has
            changed, the second moment and the projection, too.

        Raises:
            RequestError: the edits are in several languages, or no direction is free any more.
        """
        me = self.configure(backbone.spec)
        spoken = sorted({edit.language for edit in edits})
        if len(spoken) > 1:
            raise RequestError(
                f"langedit expects the edits of a batch in one language; these are in {', '.join(spoken)}."
            )
        language = torch.tensor(list(spoken[0].encode()), dtype=torch.uint8)
        turned = bool(past) and not torch.equal(past[LANGUAGE].cpu(), language)
        turns = (int(past[TURNS]) if past else 0) + turned
        state = dict(past) | {LANGUAGE: language, TURNS: torch.tensor(turns)}

        def write(share: Share, statistic: torch.Tensor) -> Factors:
            name, keys = str(share.layer), share.keys.double()
            device = keys.device
            moment, projection = statistic
            if f"{name}.moment" in past:
                moment, projection = (past[f"{name}.{part}"].to(device) for part in ("moment", "projection"))
            earlier = past[name].to(device) if name in past else None
            if turned and earlier is not None:
                moment = blend(moment, earlier, turns, me.corpus_weight, me.edits_weight)
                projection = AlphaEdit.digest_moment(me, moment, me.corpus_weight)
                state.update({f"{name}.moment": moment.cpu(), f"{name}.projection": projection.cpu()})
            own = keys.T @ keys
            state[name] = (own if earlier is None else earlier + own).cpu()
            return share.residual.float().T, project(keys, projection, known(me.l2), earlier).float()

        (change,) = me._write(backbone, edits, me.find_values(backbone, edits), [range(len(edits))], write)
        return change, state


def blend(moment: torch.Tensor, sums: torch.Tensor, turns: int, corpus_weight: int, edits_weight: int) -> torch.Tensor:
    """The second moment with the keys of earlier edits in it, as the authors' code weighs them:
    ``N / (N + t n) C + n / (N + t n) K_p K_p^T`` at the t-th change of the language.

    Args:
        moment: [d_in, d_in] C, after the change before.
        sums: [d_in, d_in] ``K_p K_p^T``
        turns: t
        corpus_weight: N
        edits_weight: n
    """
    whole = corpus_weight + turns * edits_weight
    return moment * (corpus_weight / whole) + sums * (edits_weight / whole)
