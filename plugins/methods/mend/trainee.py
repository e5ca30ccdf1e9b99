"""What MEND's networks are trained on: edits must take, and unrelated answers must stay (the paper's Algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from xkeb.backbone import Backbone
from xkeb.changes import together
from xkeb.encoding import Encoded
from xkeb.tail import Tail
from xkeb.types import Case, Property
from xkeb_plugins.methods.mend.gradient import answer_positions, mean_by_row
from xkeb_plugins.methods.mend.network import Hypernetworks

if TYPE_CHECKING:
    from xkeb_plugins.methods.mend.editor import Mend


class MendTrainee:
    """The networks, and the loss of a batch of single edits: all edited at once, row by row."""

    what = "MEND's networks"

    def __init__(self, backbone: Backbone, networks: Hypernetworks, editor: Mend) -> None:
        self.backbone, self.module, self.editor = backbone, networks, editor
        assert editor.lr is not None and editor.lr_lr is not None
        others = [value for name, value in networks.named_parameters() if name != "step_sizes"]
        self.optimisers = [
            torch.optim.Adam(others, lr=editor.lr),
            torch.optim.Adam([networks.step_sizes], lr=editor.lr_lr),
        ]

    def backward(self, cases: Sequence[Case]) -> Mapping[str, float]:
        loss, parts = self._losses(cases, observe=True)
        loss.backward()
        return parts

    def validate(self, cases: Sequence[Case]) -> Mapping[str, float]:
        size = self.editor.batch_size
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
        backbone, editor = self.backbone, self.editor
        changes = editor.changes(backbone, self.module, [case.edit for case in cases], observe=observe)
        asked = [self._outer(case) for case in cases]
        unrelated = [self._probe(case, "locality") for case in cases]
        texts = [*asked, *unrelated]
        assert editor.layers is not None
        tail = Tail(backbone, min(editor.layers), [text.ids[:-1] for text in texts])
        rows = together(backbone, changes)
        assert rows is not None
        rows.select([*range(len(cases)), *range(len(cases))])
        with rows.applied(backbone):
            hidden = tail.run()
        n = len(cases)
        row, position, token = answer_positions(texts, hidden.device)
        logits = backbone.logits(hidden[row, position]).float()
        first = row < n
        losses = F.cross_entropy(logits[first], token[first], reduction="none")
        l_edit = mean_by_row(losses, row[first], n).mean()
        with torch.no_grad():
            before = backbone.logits(tail.base[row[~first], position[~first]]).float().log_softmax(-1)
        # KL(untouched || edited): kl_div takes the edited distribution first.
        kl = F.kl_div(logits[~first].log_softmax(-1), before, log_target=True, reduction="none").sum(-1)
        l_loc = mean_by_row(kl, row[~first] - n, n).mean()
        loss = editor.cedit * l_edit + editor.cloc * l_loc
        right = float((logits[first].argmax(-1) == token[first]).float().mean())
        parts = {"loss": loss, "edit": l_edit, "locality": l_loc}
        return loss, {**{name: float(part.detach()) for name, part in parts.items()}, "right": right}

    def _outer(self, case: Case) -> Encoded:
        if self.editor.outer == "rephrase":
            return self._probe(case, "generality")
        edit = case.edit
        return self.backbone.encode(edit.prompt, edit.target, edit.language)

    def _probe(self, case: Case, wanted: Property) -> Encoded:
        probe = next(probe for probe in case.probes if probe.property == wanted)
        return self.backbone.encode(probe.prompt, probe.reference, probe.language)
