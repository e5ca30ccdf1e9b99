"""LocFT-BF: fine-tuning of one well-chosen matrix, breadth first over mini-batches (Yang et al., 2025,
https://arxiv.org/abs/2509.22072)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import PositiveInt

from xkeb.editing.changes import DenseChange
from xkeb.editing.editor import known
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.batching import group_by_length
from xkeb.models.layout import widths
from xkeb.models.spec import ModelSpec
from xkeb.models.suffix import SuffixForward
from xkeb.types import Edit
from xkeb_plugins.methods.ft import MaskedFineTuning, TrainingText, text_losses
from xkeb_plugins.methods.token_gradients import tokens_for_backward


@dataclass
class LocalizedFineTuning(MaskedFineTuning):
    """LocFT-BF: FT-M with the end of text after each answer; many edits in epochs over mini-batches."""

    name: ClassVar[str] = "locft-bf"

    layer: int | None = None
    """Edited layer. None: the tuned one, or as deep as layer 22 of Llama 3 8B's 32."""
    steps: PositiveInt = 25
    """Epochs."""
    batch_size: PositiveInt = 100
    """Edits of one optimizer step, where many edits make one change."""
    seed: int = 0
    """Of the order of the edits in each epoch."""

    def usual(self, spec: ModelSpec) -> dict[str, Any]:
        return super().usual(spec) | {"layer": spec.scale_layer(22, of=32)}

    def text(self, backbone: Backbone, edit: Edit) -> TrainingText:
        """Prompt and target, and the end of text as the target's last token.

        Raises:
            RequestError: the tokenizer has no such token.
        """
        end = backbone.tokenizer.eos_token_id
        if end is None:
            raise RequestError(
                f"The tokenizer of {backbone.name!r} has no token for the end of text, which LocFT-BF trains."
            )
        encoded = backbone.encode(edit.prompt, edit.target, edit.language)
        first = encoded.prompt_end - 1
        return TrainingText(encoded.ids, tuple(enumerate((*encoded.continuation_ids, end), first)))

    def edit_together(self, backbone: Backbone, edits: Sequence[Edit]) -> DenseChange:
        """One change that makes all the edits: in each epoch every one is in one mini-batch, in an order of the epoch's own.

        A mini-batch whose loss is below `stop_loss` moves nothing; an epoch whose mean loss is below it is the last.
        """
        me = self.configure(backbone.spec)
        path = backbone.layout.down(known(me.layer))
        d_in, d_out = widths(backbone.module(path))
        texts = [me.text(backbone, edit) for edit in edits]
        delta = torch.zeros(d_out, d_in, device=backbone.parameter(f"{path}.weight").device, requires_grad=True)
        optimizer = torch.optim.Adam([delta], lr=known(me.lr), fused=True)
        generator = torch.Generator().manual_seed(me.seed)
        for _ in range(me.steps):
            order: list[int] = torch.randperm(len(texts), generator=generator).tolist()
            total = 0.0
            for start in range(0, len(order), me.batch_size):
                optimizer.zero_grad()
                batch = [texts[i] for i in order[start : start + me.batch_size]]
                loss = _backward(backbone, known(me.layer), delta, batch)
                total += loss * len(batch)
                if loss >= me.stop_loss:
                    optimizer.step()
            if total / len(texts) < me.stop_loss:
                break
        return DenseChange({f"{path}.weight": delta.detach()})


def _backward(backbone: Backbone, layer: int, delta: torch.Tensor, batch: Sequence[TrainingText]) -> float:
    """Adds the gradient of a mini-batch's mean loss to that of the one delta, in as many passes as memory takes."""
    path = backbone.layout.down(layer)
    module = backbone.module(path)
    total = 0.0
    lengths = [len(text.ids) for text in batch]
    most = tokens_for_backward(backbone, layer)
    for group in group_by_length(lengths, backbone.saturating_tokens, most_tokens=most):
        texts = [batch[i] for i in group]
        suffix = SuffixForward(backbone, layer, [text.ids for text in texts], changed=path)
        targets = [text.targets for text in texts]
        losses = text_losses(suffix, module, [delta] * len(texts), targets, range(len(texts)))
        loss = losses.sum() / len(batch)
        loss.backward()
        total += float(loss.detach())
    return total
