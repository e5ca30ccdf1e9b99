"""Whether two sides' edits make a model answer the same, token by token."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xkeb.editing.changes import Change, ContextChange
from xkeb.evaluation.probing import case_queries, predict_after
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import installed_intervention
from xkeb.models.tokenization import Encoded
from xkeb.types import Case, Prediction, Query


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
            others = [tuple(logits(self.its, ours, query).argmax(-1).tolist()) for query in case_queries(case)]
        else:
            others = [answer.ids for answer in predict_after(self.ours, [its], [case])[0]]
        for probe, query, mine, other in zip(case.probes, case_queries(case), answers, others, strict=True):
            self.tokens += len(mine.ids)
            for at, (a, b) in enumerate(zip(mine.ids, other, strict=True)):
                if a != b:
                    sides = ((self.ours, ours), (self.its, its))
                    ahead = [logits(backbone, change, query)[at] for backbone, change in sides]
                    gaps = " and ".join(f"{float(row[a] - row[b]):+.5f}" for row in ahead)
                    named = [repr(self.ours.tokenizer.decode([token])) for token in (a, b)]
                    self.flips.append(
                        f"{case.id} {probe.property} {probe.language}: {named[0]} here, {named[1]} there; "
                        f"the first is ahead by {gaps}"
                    )


def encode_query(backbone: Backbone, query: Query) -> Encoded:
    """A question and its answer as the backbone is asked it now: behind what a change that is applied puts before it."""
    intervention = installed_intervention(backbone)
    context = intervention.context(0, query.language) if intervention else ""
    return backbone.encode(context + query.prompt, query.target, query.language)


@torch.no_grad()
def logits(backbone: Backbone, change: Change, query: Query) -> torch.Tensor:
    """[answer, vocabulary] of one question under a change, in one pass of its own."""
    with change.applied(backbone):
        encoded = encode_query(backbone, query)
        whole = backbone.model(torch.tensor([encoded.ids], device=backbone.device), use_cache=False).logits[0]
    asked: torch.Tensor = whole[encoded.target - 1 : len(encoded.ids) - 1]
    return asked
