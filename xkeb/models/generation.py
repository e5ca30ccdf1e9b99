"""Free answers: greedy decoding in batches, with the tokens that each question would get alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from transformers import DynamicCache

from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Intervention
from xkeb.models.passes import BATCH_TOKENS, Passes, TokenRow

Stop = Callable[[str], bool]
"""Whether an answer that begins with this text is at its end."""
Ended = Callable[[Sequence[int]], bool]
"""Whether an answer is whole with these ids."""


@torch.inference_mode()
def generate_rows(
    backbone: Backbone,
    rows: Sequence[TokenRow],
    intervention: Intervention | None = None,
    *,
    max_tokens: int,
    stop: Stop,
    ends: Collection[int] | None = None,
    batch_size: int = 64,
) -> list[list[int]]:
    """The ids that the model says after each row, the likeliest at each step. A row ends with one of the ids `ends`, where
    `stop` says so of its text, or after `max_tokens`; the token that ended it is among its ids.

    Args:
        rows: prompts; their only position is the last.
        intervention: the changes at work, one for each `TokenRow.row`.
        ends: None: the special ones.
        batch_size: most rows of one forward pass.
    """
    ends = backbone.special_ids if ends is None else ends
    return Generations(backbone, rows, intervention, batch_size, max_tokens, stop, ends).run()


class Generations(Passes[list[int]]):
    """Prompts padded on the left, so that the next token of all stands in one column, and then a token a pass.

    Padding is masked, and positions are counted from each row's first token. Where the family takes no padding there, rows of
    one length share a batch; where it keeps no keys and values, each pass is of the whole text. Rows that have ended leave the
    batch. Behind a common prefix, rows of one length only share a batch: padding would stand between the two, and a sliding
    window of attention counts what stands there.
    """

    def __init__(
        self,
        backbone: Backbone,
        rows: Sequence[TokenRow],
        intervention: Intervention | None,
        batch_size: int,
        max_tokens: int,
        stop: Stop,
        ends: Collection[int],
    ) -> None:
        super().__init__(backbone, rows, intervention, batch_size)
        self.max_tokens, self.stop, self.ends = max_tokens, stop, ends

    def _batches(self, members: Sequence[int], prefix: int) -> Iterator[list[int]]:
        """Members of similar length, or of one length after a prefix. All of a batch's tokens are kept to the end, so they
        count with their answers."""
        by_length: dict[int, list[int]] = {}
        for i in sorted(members, key=lambda i: len(self.rows[i].ids)):
            length = len(self.rows[i].ids)
            padded = not prefix and self.backbone.alignment.pads_left
            by_length.setdefault(-(-length // 8) if padded else length, []).append(i)
        for group in by_length.values():
            longest = max(len(self.rows[i].ids) for i in group) + self.max_tokens
            size = max(1, min(self.batch_size, BATCH_TOKENS // longest))
            yield from (group[start : start + size] for start in range(0, len(group), size))

    def _nothing(self) -> list[int]:
        return []

    def _pass(self, batch: Sequence[int], prefix: int, past: DynamicCache | None) -> dict[int, list[int]]:
        return self.decode(batch, prefix, past, self._ended)

    def decode(
        self, batch: Sequence[int], prefix: int, past: DynamicCache | None, ended: Ended
    ) -> dict[int, list[int]]:
        """The ids that are said after each row of a batch."""
        backbone = self.backbone
        said: dict[int, list[int]] = {i: [] for i in batch}
        alive = list(batch)
        cache = self.repeated(past, len(batch)) or backbone.new_cache()
        continues = backbone.alignment.continues
        ids, mask = self._padded(batch, prefix)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, prefix:]  # (B, T)
        while True:
            self.select(alive)
            whole = bool(mask.all())  # without padding, as one at a time: causal attention needs no mask
            kept_states = cache if continues else None
            seen = None if whole else mask
            last = torch.full_like(ids[:, :1], ids.shape[1] - 1)
            hidden = backbone.hidden_at(ids, last, kept_states, attention_mask=seen, position_ids=positions)
            tokens = backbone.logits(hidden[:, 0]).argmax(-1)  # (B,)
            for i, token in zip(alive, tokens.tolist(), strict=True):
                said[i].append(token)
            kept = [row for row, i in enumerate(alive) if not ended(said[i])]
            if not kept:
                return said
            if len(kept) < len(alive):
                rows = torch.tensor(kept, device=mask.device)
                if continues:
                    cache.batch_select_indices(rows)
                ids, tokens, mask, positions = ids[rows], tokens[rows], mask[rows], positions[rows]
                alive = [alive[row] for row in kept]
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=-1)
            new, after = tokens.unsqueeze(-1), positions[:, -1:] + 1  # (B, 1)
            ids, positions = (new, after) if continues else (torch.cat([ids, new], 1), torch.cat([positions, after], 1))

    def _padded(self, batch: Sequence[int], prefix: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids [B, T] after the prefix, padded on the left, and the mask [B, prefix + T] of what is no padding."""
        parts = [self.rows[i].ids[prefix:] for i in batch]
        width = max(map(len, parts))
        pad = self.backbone.pad_id
        ids = torch.tensor([[pad] * (width - len(part)) + list(part) for part in parts], device=self.backbone.device)
        mask = torch.tensor([[1] * prefix + [0] * (width - len(part)) + [1] * len(part) for part in parts])
        return ids, mask.to(ids.device)

    def _ended(self, said: Sequence[int]) -> bool:
        if said[-1] in self.ends or len(said) >= self.max_tokens:
            return True
        return self.stop(self.backbone.said(said))
