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
from xkeb_plugins.methods.memory.facts import languages_of
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
    across: bool = False
    """Both losses are also of the other languages that a fact is in, each question counting the same: the edit's of the fact
    there, the divergence of another fact's question there."""


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
        n = len(cases)
        outer = [(i, text) for i, case in enumerate(cases) for text in self._outer(case)]
        unrelated = [(i, text) for i in range(n) for text in self._unrelated(cases, i)]
        edited = [i for i, _ in (*outer, *unrelated)]
        texts = [text for _, text in (*outer, *unrelated)]
        suffix = SuffixForward(backbone, min(self.layers), [text.ids[:-1] for text in texts])
        intervention = LowRankChange.batched(backbone, changes)
        intervention.select(edited)
        with intervention.applied(backbone):
            hidden = suffix.run()
        row, position, token = answer_positions(texts, hidden.device)
        logits = backbone.logits(hidden[row, position]).float()
        k, of = len(outer), torch.tensor(edited, device=hidden.device)
        first = row < k
        losses = F.cross_entropy(logits[first], token[first], reduction="none")
        l_edit = mean_by_row(mean_by_row(losses, row[first], k), of[:k], n).mean()
        with torch.no_grad():
            before = backbone.logits(suffix.base[row[~first], position[~first]]).float().log_softmax(-1)
        # KL(untouched || edited): kl_div takes the edited distribution first.
        kl = F.kl_div(logits[~first].log_softmax(-1), before, log_target=True, reduction="none").sum(-1)
        l_loc = mean_by_row(mean_by_row(kl, row[~first] - k, len(unrelated)), of[k:], n).mean()
        loss = weights.cedit * l_edit + weights.cloc * l_loc
        right = float((logits[first].argmax(-1) == token[first]).float().mean())
        parts = {"loss": loss, "edit": l_edit, "locality": l_loc}
        return loss, {**{name: float(part.detach()) for name, part in parts.items()}, "right": right}

    def _outer(self, case: Case) -> list[Encoded]:
        """What a fact's edit is scored by."""
        edit = case.edit
        if self.losses.outer == "rephrase":
            own = self._probe(case, "generality")
        else:
            own = self.backbone.encode(edit.prompt, edit.target, edit.language)
        others = languages_of(case) if self.losses.across else []
        return [own, *(self._said_in(case, code) for code in others if code != edit.language)]

    def _unrelated(self, cases: Sequence[Case], i: int) -> list[Encoded]:
        """What the edit of the batch's fact of that number must leave as it was. Training files have unrelated questions in the
        edit's language alone, so in the others the next fact of the batch stands for one."""
        case, following = cases[i], cases[(i + 1) % len(cases)]
        others = languages_of(following) if self.losses.across and len(cases) > 1 else []
        elsewhere = [self._said_in(following, code) for code in others if code != case.edit.language]
        return [self._probe(case, "locality"), *elsewhere]

    def _said_in(self, case: Case, language: str) -> Encoded:
        return self.backbone.encode(case.edit.questions[language], case.edit.translations[language], language)

    def _probe(self, case: Case, name: Property) -> Encoded:
        probe = case.probe(name)
        return self.backbone.encode(probe.prompt, probe.reference, probe.language)
