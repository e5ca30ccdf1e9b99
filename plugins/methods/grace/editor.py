"""GRACE: general retrieval adaptors for continual editing (Hartvigsen et al., 2023, https://arxiv.org/abs/2211.11031)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import PositiveInt

from xkeb.editing.changes import Change
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor, known
from xkeb.editing.session import State
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.batching import group_by_length
from xkeb.models.layout import widths
from xkeb.models.spec import ModelSpec
from xkeb.models.suffix import SuffixForward
from xkeb.models.tokenization import Encoded
from xkeb.types import Edit
from xkeb_plugins.methods.grace.change import CodebookChange
from xkeb_plugins.methods.grace.codebook import Codebook
from xkeb_plugins.methods.token_gradients import answer_positions, mean_by_row, tokens_for_backward
from xkeb_plugins.methods.tuned import tuned_settings


@dataclass
class Grace(Editor):
    """GRACE: what leaves one down-projection is replaced by a trained value, near the key of an edit."""

    cumulative: ClassVar[bool] = True

    layer: int | None = None
    """Layer of the codebook. None: the tuned one, or as deep as layer 27 of LLaMA-7B's 32."""
    radius: float | None = None
    """Largest distance from a new key at which its value is used. None: the tuned one, or 1."""
    steps: PositiveInt = 50
    lr: float = 1.0
    init: Literal["cold", "warm"] = "cold"
    """Where a value starts: uniformly drawn between 0 and 1, or at what the model has there."""
    seed: int = 0
    """Of the values that are drawn."""

    def configure(self, spec: ModelSpec) -> Self:
        me = self.filled({"layer": spec.scale_layer(27, of=32), "radius": 1.0} | tuned_settings("grace", spec))
        if not 0 <= known(me.layer) < spec.n_layers:
            raise RequestError(f"grace.layer is {me.layer}; {spec.name!r} has layers 0 to {spec.n_layers - 1}.")
        if not known(me.radius) > 0:
            raise RequestError(f"grace.radius is {me.radius}; a distance above 0 was expected.")
        return me

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[CodebookChange]:
        """A codebook of one entry for each edit."""
        me = self.configure(backbone.spec)
        texts = [backbone.encode(edit.prompt, edit.target, edit.language) for edit in edits]
        lengths = [len(text.ids) - 1 for text in texts]
        most = tokens_for_backward(backbone, known(me.layer))
        books: dict[int, Codebook] = {}
        for batch in group_by_length(lengths, backbone.saturating_tokens, most_tokens=most):
            empty = [me.codebook(backbone)] * len(batch)
            books |= zip(batch, me._write(backbone, [texts[i] for i in batch], empty), strict=True)
        path = backbone.layout.down(known(me.layer))
        return [CodebookChange(path, books[i]) for i in range(len(edits))]

    def edit_after(self, backbone: Backbone, edits: Sequence[Edit], past: State) -> tuple[CodebookChange, State]:
        """One change that makes all the edits, one after the other, and those before; and its codebook as tensors."""
        me = self.configure(backbone.spec)
        book = Codebook.from_tensors(past).to(backbone.device) if past else me.codebook(backbone)
        for edit in edits:
            text = backbone.encode(edit.prompt, edit.target, edit.language)
            (book,) = me._write(backbone, [text], [book])
        return CodebookChange(backbone.layout.down(known(me.layer)), book), book.tensors()

    def codebook(self, backbone: Backbone) -> Codebook:
        """As it is before the first edit: empty."""
        path = backbone.layout.down(known(self.configure(backbone.spec).layer))
        return Codebook.empty(*widths(backbone.module(path)), backbone.parameter(f"{path}.weight").device)

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[CodebookChange]:
        return session.in_steps(
            self.steps, lambda steps: dataclasses.replace(self, steps=steps).edit(session.backbone, edits)
        )

    @classmethod
    def restore(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> Change:
        return CodebookChange.from_saved(tensors, data)

    def _write(self, backbone: Backbone, texts: Sequence[Encoded], books: Sequence[Codebook]) -> list[Codebook]:
        """Each text into a codebook of its own."""
        layer = known(self.layer)
        path = backbone.layout.down(layer)
        suffix = SuffixForward(backbone, layer, [text.ids[:-1] for text in texts], changed=path)
        inputs, outputs = _observe(suffix, path)
        placed = []
        for row, (text, book) in enumerate(zip(texts, books, strict=True)):
            at = text.prompt_end - 1
            value = self._start(outputs[row, at], len(book))
            placed.append(book.placed(inputs[row, at], value, tuple(text.continuation_ids), known(self.radius)))
        values = self._train(suffix, texts, inputs, placed)
        return [book.valued(entry, value) for (book, entry), value in zip(placed, values, strict=True)]

    def _start(self, output: torch.Tensor, n: int) -> torch.Tensor:
        if self.init == "warm":
            return output
        generator = torch.Generator().manual_seed(self.seed + n)
        return torch.rand(output.shape, generator=generator).to(output.device)

    def _train(
        self,
        suffix: SuffixForward,
        texts: Sequence[Encoded],
        inputs: torch.Tensor,
        placed: Sequence[tuple[Codebook, int]],
    ) -> torch.Tensor:
        """The values of the placed entries, [N, d_out], trained with the rest of their codebooks at work."""
        backbone = suffix.backbone
        found = [book.find(row) for (book, _), row in zip(placed, inputs, strict=True)]
        inside = torch.stack([scope for _, scope in found])  # (N, T)
        own = inside & torch.stack([near == entry for (near, _), (_, entry) in zip(found, placed, strict=True)])
        others = torch.stack([book.values[near] for (near, _), (book, _) in zip(found, placed, strict=True)])
        values = torch.stack([book.values[entry] for book, entry in placed]).requires_grad_()

        def replace(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
            known_ones = torch.where(inside[..., None], others.to(output), output)
            return torch.where(own[..., None], values[:, None].to(output), known_ones)

        optimizer = torch.optim.Adam([values], lr=self.lr)
        rows, positions, tokens = answer_positions(texts, backbone.device)
        handle = backbone.module(backbone.layout.down(suffix.layer)).register_forward_hook(replace)
        try:
            for _ in range(self.steps):
                optimizer.zero_grad()
                logits = backbone.logits(suffix.run()[rows, positions]).float()
                losses = F.cross_entropy(logits, tokens, reduction="none")
                mean_by_row(losses, rows, len(texts)).sum().backward()
                optimizer.step()
        finally:
            handle.remove()
        return values.detach()


@torch.no_grad()
def _observe(suffix: SuffixForward, path: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What enters and leaves a module of the suffix: [N, T, d_in] and [N, T, d_out], float32."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen.append((inputs[0].float(), output.float()))

    handle = suffix.backbone.module(path).register_forward_hook(keep)
    try:
        suffix.run()
    finally:
        handle.remove()
    return seen[0]
