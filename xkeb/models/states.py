"""What a model expects at positions of a text: final hidden states, which are small, and the distributions that they stand for,
which are as wide as the vocabulary, so that there are only ever those of a few positions at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from transformers import DynamicCache

from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Intervention, installed_intervention
from xkeb.models.passes import Passes, TokenRow
from xkeb.models.prediction import TEACHER_FORCING, context_of, predict, shares
from xkeb.types import Prediction, Query

CHUNK_BYTES = 128 * 2**20
"""Most of one tensor of distributions, in float32."""


@torch.inference_mode()
def answer_states(backbone: Backbone, queries: Sequence[Query]) -> list[torch.Tensor | Prediction]:
    """What the backbone expects at the positions of each gold answer, as it is now, changes included.

    Returns:
        for each question, final hidden states [tokens of the answer, hidden_size]; or the answer of another model, where a
        change has that one answer.
    """
    intervention = installed_intervention(backbone)
    if intervention is not None:
        queries = [dataclasses.replace(query, row=0) for query in queries]
    found: dict[int, torch.Tensor | Prediction] = {}
    for share in shares(backbone, queries, intervention):
        if share.backbone is backbone:
            contexts = [context_of(intervention, query) for query in share.queries]
            own = zip(share.queries, contexts, strict=True)
            rows = [row for query, context in own for row in TEACHER_FORCING.rows(backbone, query, context)]
            found.update(zip(share.indices, hidden_states(backbone, rows, intervention), strict=True))
        else:
            replies = predict(share.backbone, share.queries)
            found.update((i, backbone.retokenize(reply)) for i, reply in zip(share.indices, replies, strict=True))
    return [found[i] for i in range(len(queries))]


@torch.inference_mode()
def hidden_states(
    backbone: Backbone, rows: Sequence[TokenRow], intervention: Intervention | None = None, *, batch_size: int = 64
) -> list[torch.Tensor]:
    """Final hidden states at each row's positions: [positions, hidden_size].

    Args:
        intervention: the changes at work, one for each `TokenRow.row`.
        batch_size: most rows of one forward pass.
    """
    return _States(backbone, rows, intervention, batch_size).run()


def positions_at_once(backbone: Backbone) -> int:
    """Positions whose distributions take `CHUNK_BYTES`."""
    vocabulary: int = backbone.model.config.get_text_config().vocab_size
    return max(1, CHUNK_BYTES // (4 * vocabulary))


@torch.inference_mode()
def log_probabilities(backbone: Backbone, states: torch.Tensor) -> torch.Tensor:
    """Of the next token, in nats and float32: [.., hidden_size] -> [.., vocabulary]."""
    return F.log_softmax(backbone.logits(states).float(), dim=-1)


class _States(Passes[torch.Tensor]):
    """One pass of a batch, without the head."""

    def _nothing(self) -> torch.Tensor:
        return torch.empty(0, self.backbone.layout.hidden_size, dtype=self.backbone.dtype, device=self.backbone.device)

    def _pass(self, batch: Sequence[int], prefix: int, past: DynamicCache | None) -> dict[int, torch.Tensor]:
        return self.states(batch, prefix, past)
