"""KN by EasyEdit's own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from xkeb.editing.changes import DenseChange
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.layout import as_stored
from xkeb.types import Edit
from xkeb_plugins.methods.easyeditor.bridge import TokensBridge
from xkeb_plugins.methods.easyeditor.requests import request
from xkeb_plugins.methods.easyeditor.sandbox import sandbox

KINDS = {
    ("model.layers", "mlp.gate_proj", "mlp.down_proj"): "llama",
    ("transformer.h", "mlp.c_fc", "mlp.c_proj"): "gpt2",
    ("transformer.h", "mlp.fc_in", "mlp.fc_out"): "gpt-j",
}
"""Layers, first projection and last one -> the model name from which its code knows that they are there."""


@dataclass
class EasyEditorKnowledgeNeurons(TokensBridge):
    """KN by EasyEdit's own code; needs `pip install --no-deps easyeditor==0.0.1.dev0 einops`, or a checkout (`path`)."""

    called: ClassVar[str] = "easyeditor-kn"
    modules: ClassVar[tuple[str, ...]] = ("models.kn.kn_main",)

    steps: int = 1
    """Points of the integral."""
    adaptive_threshold: float = 0.2
    """A neuron's attribution is above this share of the largest of all layers."""
    answer: str | None = "<|endoftext|>"
    """The answer whose neurons are looked for; EasyEdit's, where a request gives none. None: what the untouched model
    answers now, greedily, in as many tokens as the target has."""

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[DenseChange]:
        """One change for each edit, of the columns of the down-projections that belong to its neurons."""
        return [self._edit_one(backbone, edit) for edit in edits]

    def _edit_one(self, backbone: Backbone, edit: Edit) -> DenseChange:
        fact = request(edit)
        answer, ids = (self.answer, None) if self.answer is not None else self._answer_now(backbone, edit)
        tokenizer = self.tokenizer(backbone, [edit])
        if self.tokens == "xkeb":
            tokenizer.ids_by_text[answer] = (
                backbone.encode(edit.prompt, answer, edit.language).continuation_ids if ids is None else ids
            )
        parameters = self.its("models.kn.kn_hparams").KNHyperParams(
            lr_scale=1.0,
            n_toks=10,
            refine=False,
            batch_size=1,
            steps=self.steps,
            adaptive_threshold=self.adaptive_threshold,
            p=0.4,
            model_name=_kind(backbone),
            device=self.device(backbone),
            alg_name="KN",
        )
        paths = [backbone.layout.down(layer) for layer in range(backbone.n_layers)]
        before = {f"{path}.weight": backbone.parameter(f"{path}.weight").data for path in paths}
        with sandbox(backbone, list(before)):
            self.its("models.kn.kn_main").apply_kn_to_model(
                backbone.model, tokenizer, [{**fact, "ground_truth": answer}], parameters
            )
            added = {
                name: (now := backbone.parameter(name).data) - original.to(now) for name, original in before.items()
            }
        return DenseChange(
            {
                name: as_stored(backbone.module(name.removesuffix(".weight")), delta)
                for name, delta in added.items()
                if delta.any()
            }
        )

    @torch.no_grad()
    def _answer_now(self, backbone: Backbone, edit: Edit) -> tuple[str, tuple[int, ...]]:
        """What the model says to the prompt, as text and as ids."""
        encoded = backbone.encode(edit.prompt, edit.target, edit.language)
        ids = list(encoded.ids[: encoded.prompt_end])
        length = len(
            encoded.continuation_ids if self.tokens == "xkeb" else backbone.tokenizer(edit.target)["input_ids"]
        )
        for _ in range(length):
            hidden = backbone.hidden(torch.tensor([ids], device=backbone.device))
            ids.append(int(backbone.logits(hidden[0, -1]).argmax()))
        answer = ids[-length:]
        return str(backbone.tokenizer.decode(answer)), tuple(answer)


def _kind(backbone: Backbone) -> str:
    layout = backbone.layout
    for (layers, first, last), kind in KINDS.items():
        if layout.layers == layers and first in layout.up_proj and layout.down_proj == last:
            return kind
    raise RequestError(
        f"EasyEdit's KN does not know where the neurons of {backbone.name!r} are: its layers are {layout.layers}, its MLP "
        f"{', '.join(layout.up_proj)} and {layout.down_proj}."
    )
