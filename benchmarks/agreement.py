"""Whether two sides' edits make a model answer the same, token by token."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xkeb.editing.changes import Change, ContextChange
from xkeb.evaluation.probing import predict_after
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Prediction, Probe


class Agreement:
    """Tokens predicted after our edit, and after its edit of the same case, both asked by our evaluation.

    Its IKE shows the new fact once more, as a last demonstration, so that the two are asked different things. There, our
    context is asked once more instead: each probe alone, in one plain pass of its model.
    """

    def __init__(self, ours: Backbone, its: Backbone) -> None:
        self.ours, self.its = ours, its
        self.tokens = 0
        self.flips: list[str] = []

    def compare(self, case: Case, ours: Change, its: Change, answers: Sequence[Prediction]) -> None:
        if isinstance(ours, ContextChange):
            its = ours
            others = [tuple(logits(self.its, ours, probe).argmax(-1).tolist()) for probe in case.probes]
        else:
            others = [answer.ids for answer in predict_after(self.ours, [its], [case])[0]]
        for probe, mine, other in zip(case.probes, answers, others, strict=True):
            self.tokens += len(mine.ids)
            for at, (a, b) in enumerate(zip(mine.ids, other, strict=True)):
                if a != b:
                    sides = ((self.ours, ours), (self.its, its))
                    ahead = [logits(backbone, change, probe)[at] for backbone, change in sides]
                    gaps = " and ".join(f"{float(row[a] - row[b]):+.5f}" for row in ahead)
                    named = [repr(self.ours.tokenizer.decode([token])) for token in (a, b)]
                    self.flips.append(
                        f"{case.id} {probe.property} {probe.language}: {named[0]} here, {named[1]} there; "
                        f"the first is ahead by {gaps}"
                    )


@torch.no_grad()
def logits(backbone: Backbone, change: Change, probe: Probe) -> torch.Tensor:
    """[answer, vocabulary] of one probe under a change, in one pass of its own."""
    with change.applied(backbone):
        encoded = backbone.encode(backbone.context(probe.language) + probe.prompt, probe.reference, probe.language)
        whole = backbone.model(torch.tensor([encoded.ids], device=backbone.device), use_cache=False).logits[0]
    asked: torch.Tensor = whole[encoded.target - 1 : len(encoded.ids) - 1]
    return asked
