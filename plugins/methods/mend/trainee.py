"""What MEND's networks are trained on: edits must take, and unrelated answers must stay (the paper's Algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from xkeb.editing.changes import LowRankChange
from xkeb.models.backbone import Backbone
from xkeb.models.suffix import SuffixForward
from xkeb.models.tokenization import Encoded
from xkeb.types import Case, Property
from xkeb_plugins.methods.mend.network import Hypernetworks
from xkeb_plugins.methods.mend.updates import make_updates
from xkeb_plugins.methods.token_gradients import answer_positions, mean_by_row


@dataclass(frozen=True, slots=True)
class Losses:
    """What an edit is scored by in training."""

    cedit: float
    """Weight of the edit's loss (Eq. 4a)."""
    cloc: float
    """Weight of the divergence at an unrelated question (Eq. 4b)."""
    outer: Literal["rephrase", "edit"]
    """The question that the edit's loss is of."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Learning rates of Adam."""

    networks: float
    step_sizes: float


class MendTrainee:
    """The networks, and the loss of a batch of single edits: all edited at once, row by row."""

    what = "MEND's networks"

    def __init__(
        self,
        backbone: Backbone,
        networks: Hypernetworks,
        layers: Sequence[int],
        losses: Losses,
        rates: Rates,
        batch_size: int,
    ) -> None:
        """
        Args:
            layers: the edited ones.
            batch_size: facts of one batch of a validation.
        """
        self.backbone, self.module, self.layers = backbone, networks, layers
        self.losses, self.batch_size = losses, batch_size
        others = [value for name, value in networks.named_parameters() if name != "step_sizes"]
        self.optimizers = [
            torch.optim.Adam(others, lr=rates.networks),
            torch.optim.Adam([networks.step_sizes], lr=rates.step_sizes),
        ]

    def backward(self, cases: Sequence[Case]) -> Mapping[str, float]:
        loss, parts = self._losses(cases, observe=True)
        loss.backward()
        return parts

    def validate(self, cases: Sequence[Case]) -> Mapping[str, float]:
        size = self.batch_size
        totals: dict[str, float] = {}
        if not self.module.has_observed:
            self._losses(cases[:size], observe=True)  # before the first step there are no statistics to divide by
        for start in range(0, len(cases), size):
            batch = cases[start : start + size]
            for name, value in self._losses(batch, observe=False)[1].items():
                totals[name] = totals.get(name, 0.0) + value * len(batch) / len(cases)
        return totals

    def _losses(self, cases: Sequence[Case], *, observe: bool) -> tuple[torch.Tensor, dict[str, float]]:
        """The mean loss ``cedit * L_edit + cloc * L_loc``, and its parts; how many answer tokens are right, too."""
        backbone, weights = self.backbone, self.losses
        edits = [case.edit for case in cases]
        changes = make_updates(backbone, self.module, self.layers, edits, observe=observe)
        outer = [self._outer(case) for case in cases]
        unrelated = [self._probe(case, "locality") for case in cases]
        texts = [*outer, *unrelated]
        suffix = SuffixForward(backbone, min(self.layers), [text.ids[:-1] for text in texts])
        intervention = LowRankChange.batched(backbone, changes)
        intervention.select([*range(len(cases)), *range(len(cases))])
        with intervention.applied(backbone):
            hidden = suffix.run()
        n = len(cases)
        row, position, token = answer_positions(texts, hidden.device)
        logits = backbone.logits(hidden[row, position]).float()
        first = row < n
        losses = F.cross_entropy(logits[first], token[first], reduction="none")
        l_edit = mean_by_row(losses, row[first], n).mean()
        with torch.no_grad():
            before = backbone.logits(suffix.base[row[~first], position[~first]]).float().log_softmax(-1)
        # KL(untouched || edited): kl_div takes the edited distribution first.
        kl = F.kl_div(logits[~first].log_softmax(-1), before, log_target=True, reduction="none").sum(-1)
        l_loc = mean_by_row(kl, row[~first] - n, n).mean()
        loss = weights.cedit * l_edit + weights.cloc * l_loc
        right = float((logits[first].argmax(-1) == token[first]).float().mean())
        parts = {"loss": loss, "edit": l_edit, "locality": l_loc}
        return loss, {**{name: float(part.detach()) for name, part in parts.items()}, "right": right}

    def _outer(self, case: Case) -> Encoded:
        if self.losses.outer == "rephrase":
            return self._probe(case, "generality")
        edit = case.edit
        return self.backbone.encode(edit.prompt, edit.target, edit.language)

    def _probe(self, case: Case, name: Property) -> Encoded:
        probe = case.probe(name)
        return self.backbone.encode(probe.prompt, probe.reference, probe.language)
