"""What stands at the last token of each edit's subject, layer by layer, while a method writes to the layers below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from xkeb.models.backbone import Backbone
from xkeb.models.batching import group_by_length, pad
from xkeb.models.interventions import Intervention
from xkeb.models.passes import BATCH_TOKENS
from xkeb.types import Edit
from xkeb_plugins.methods.locate.partial_forward import run_up_to


@dataclass(frozen=True, slots=True)
class States:
    """States at the subject's last token of each of n edits, in float32."""

    keys: torch.Tensor
    """[n, d_in] Input of a layer's down-projection: the mean over the groups of prefixes of the mean inside each."""
    outputs: torch.Tensor
    """[n, d_out] Output of that down-projection in the bare prompt."""
    hidden: torch.Tensor
    """[n, hidden_size] The residual stream that leaves the last layer that is looked at, in the bare prompt."""


class SubjectStates:
    """The beginnings of a batch of edits' prompts, each up to the subject's last token: nothing after it is looked at."""

    def __init__(self, backbone: Backbone, edits: Sequence[Edit], groups: Sequence[Sequence[str]]) -> None:
        """
        Args:
            groups: prefixes; the first group is the empty one alone, that is the bare prompt.
        """
        self.backbone = backbone
        texts = []  # ids of a row, its edit, its weight in the mean key, whether it is the bare prompt
        for i, edit in enumerate(edits):
            for g, group in enumerate(groups):
                for prefix in group:
                    ids = backbone.encode(edit.prompt, edit.target, edit.language, context=prefix).ids
                    row = ids[: backbone.subject_last(edit, prefix) + 1]
                    texts.append((row, i, 1 / (len(groups) * len(group)), g == 0))
        self.batches = group_by_length(
            [len(text[0]) for text in texts], backbone.saturating_tokens, most_tokens=BATCH_TOKENS
        )
        texts = [texts[i] for batch in self.batches for i in batch]
        self.n = len(edits)
        self.rows, self.owners, self.weights, self.bare = (list(column) for column in zip(*texts, strict=True))

    @torch.inference_mode()
    def measure(self, layer: int, last: int, changes: Intervention | None = None) -> States:
        """The states there now.

        Args:
            layer: whose down-projection is looked at.
            last: the layer whose output is looked at, not below `layer`.
            changes: those at work row by row, one for each edit.
        """
        backbone, layout = self.backbone, self.backbone.layout
        states: list[torch.Tensor] = []
        ends = torch.empty(0)

        def keep(state: torch.Tensor) -> None:
            at_ends = state[torch.arange(len(ends), device=state.device), ends.to(state.device)]
            states.append(at_ends.float().to(backbone.device))

        def keep_both(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            keep(inputs[0])
            keep(output)

        def keep_stream(_: Any, inputs: Any, output: Any) -> None:
            keep(output[0] if isinstance(output, tuple | list) else output)

        handles = [
            backbone.module(layout.down(layer)).register_forward_hook(keep_both),
            backbone.module(layout.layer(last)).register_forward_hook(keep_stream),
        ]
        columns: list[list[torch.Tensor]] = []
        try:
            start = 0
            for size in map(len, self.batches):
                batch = slice(start, start + size)
                rows = self.rows[batch]
                ends = torch.tensor([len(row) - 1 for row in rows], device=backbone.device)
                if changes:
                    changes.select(self.owners[batch])
                states.clear()
                run_up_to(backbone, last, pad(rows, backbone.pad_id, backbone.device))
                columns.append(list(states))
                start += size
        finally:
            for handle in handles:
                handle.remove()
        keys, outputs, hidden = (torch.cat(column) for column in zip(*columns, strict=True))
        mean = torch.zeros(self.n, len(self.rows), device=keys.device)
        mean[self.owners, range(len(self.rows))] = torch.tensor(self.weights, device=keys.device)
        bare = sorted((owner, row) for row, owner in enumerate(self.owners) if self.bare[row])
        first = [row for _, row in bare]  # in the order of the edits
        return States(mean @ keys, outputs[first], hidden[first])
