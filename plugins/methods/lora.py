"""LoRA: low-rank changes of chosen projections, trained on the edit (Hu et al., 2022, https://arxiv.org/abs/2106.09685)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt

from xkeb.editing.changes import LowRankChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor, known
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.batching import group_by_length
from xkeb.models.layout import Layout, widths
from xkeb.models.spec import ModelSpec
from xkeb.models.suffix import SuffixForward
from xkeb.models.tokenization import Encoded
from xkeb.types import Edit
from xkeb_plugins.methods.token_gradients import answer_positions, mean_by_row, tokens_for_backward
from xkeb_plugins.methods.tuned import tuned_settings

QUERY_AND_VALUE = (
    ("q_proj", "v_proj"),
    ("query", "value"),
    ("c_attn",),
    ("query_key_value",),
    ("qkv_proj",),
    ("Wqkv",),
)
"""What families call the projections of queries and values, some of which have both in one matrix."""


@dataclass
class LoRA(Editor):
    """LoRA: Adam on the two factors of a low-rank change of every chosen projection."""

    targets: tuple[str, ...] | None = None
    """Names of the changed projections, such as ``("q_proj", "v_proj")``, of the attention or the MLP. None: the tuned ones,
    or those of queries and values."""
    layers: tuple[int, ...] | None = None
    """Layers whose projections are changed. None: the tuned ones, or all."""
    rank: PositiveInt = 8
    alpha: float = 32.0
    """The change is ``alpha / rank`` times the product of the factors."""
    steps: PositiveInt = 60
    lr: float | None = None
    """Step size. None: the tuned one, or 5e-3."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of a projection's inputs that a training step leaves out of the change."""
    seed: int = 0
    """Of the factors at the start, and of what is left out."""

    def configure(self, spec: ModelSpec) -> Self:
        me = self.filled({"layers": tuple(range(spec.n_layers)), "lr": 5e-3} | tuned_settings("lora", spec))
        if me.targets is None:
            me = me.filled({"targets": usual_targets(spec)})
        if not me.layers or not all(0 <= layer < spec.n_layers for layer in me.layers):
            raise RequestError(
                f"lora.layers is {list(me.layers or ())}; {spec.name!r} has layers 0 to {spec.n_layers - 1}."
            )
        names = {path.rpartition(".")[2] for path in projections(spec.layout)}
        if not me.targets or not names.issuperset(me.targets):
            raise RequestError(
                f"lora.targets is {list(me.targets or ())}; names of projections of {spec.name!r} were expected: "
                f"{', '.join(sorted(names))}."
            )
        return me

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One change of all chosen projections for each edit. Each has factors, optimizer and dropout of its own."""
        me = self.configure(backbone.spec)
        texts = [backbone.encode(edit.prompt, edit.target, edit.language) for edit in edits]
        lengths = [len(text.ids) - 1 for text in texts]
        most = tokens_for_backward(backbone, min(known(me.layers)))
        changes: dict[int, LowRankChange] = {}
        for batch in group_by_length(lengths, backbone.saturating_tokens, most_tokens=most):
            changes |= zip(batch, me._train(backbone, [texts[i] for i in batch]), strict=True)
        return [changes[i] for i in range(len(edits))]

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        return session.in_steps(
            self.steps, lambda steps: dataclasses.replace(self, steps=steps).edit(session.backbone, edits)
        )

    def _train(self, backbone: Backbone, texts: Sequence[Encoded]) -> Iterator[LowRankChange]:
        suffix = SuffixForward(backbone, min(known(self.layers)), [text.ids[:-1] for text in texts])
        adapters = Adapters(backbone, self._paths(backbone), [len(text.ids) - 1 for text in texts], self)
        optimizer = torch.optim.Adam(adapters.parameters(), lr=known(self.lr), fused=True)
        rows, positions, tokens = answer_positions(texts, backbone.device)
        for _ in range(self.steps):
            optimizer.zero_grad()
            hidden = adapters.run(suffix)  # (N, T, D)
            losses = F.cross_entropy(backbone.logits(hidden[rows, positions]).float(), tokens, reduction="none")
            mean_by_row(losses, rows, len(texts)).sum().backward()
            optimizer.step()
        return adapters.changes()

    def _paths(self, backbone: Backbone) -> list[str]:
        """Paths of the changed modules. A layer of a hybrid model may lack some.

        Raises:
            RequestError: none of the layers has one.
        """
        candidates = [
            f"{backbone.layout.layer(layer)}.{path}"
            for layer in known(self.layers)
            for path in projections(backbone.layout)
            if path.rpartition(".")[2] in known(self.targets)
        ]
        there = {path for path, _ in backbone.model.named_modules()}
        if not (paths := [path for path in candidates if path in there]):
            raise RequestError(
                f"None of lora.layers has a projection of lora.targets, {', '.join(known(self.targets))}."
            )
        return paths


class Adapters:
    """The factors of N edits at some matrices. Each edit draws from a generator of its own, so that it is among others what
    it is alone."""

    def __init__(self, backbone: Backbone, paths: Sequence[str], lengths: Sequence[int], options: LoRA) -> None:
        """
        Args:
            lengths: tokens of each edit's text.
        """
        self.backbone, self.lengths = backbone, lengths
        self.rank, self.scale, self.dropout = options.rank, options.alpha / options.rank, options.dropout
        self.generators = [torch.Generator().manual_seed(options.seed) for _ in lengths]
        self.factors = {path: self._start(path) for path in paths}
        """By path: up [N, d_out, r], and down [N, r, d_in]. float32"""

    def _start(self, path: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Zero, and what Kaiming's uniform initialization with a = sqrt(5) comes to, as in the authors' library."""
        d_in, d_out = widths(self.backbone.module(path))
        device = self.backbone.parameter(f"{path}.weight").device
        down = torch.stack([torch.rand(self.rank, d_in, generator=each) for each in self.generators])
        up = torch.zeros(len(self.generators), d_out, self.rank, device=device)
        return up.requires_grad_(), ((2 * down - 1) * d_in**-0.5).to(device).requires_grad_()

    def parameters(self) -> list[torch.Tensor]:
        """What is trained."""
        return [factor for pair in self.factors.values() for factor in pair]

    def run(self, suffix: SuffixForward) -> torch.Tensor:
        """Final hidden states, [N, T, D], of each text under its own edit."""
        handles = [self.backbone.module(path).register_forward_hook(self._hook(path)) for path in self.factors]
        try:
            return suffix.run()
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, path: str) -> Any:
        up, down = self.factors[path]

        def add(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            # the shapes: (N, T, d_in) @ (N, d_in, r) @ (N, r, d_out)
            kept = inputs[0].float() * self._mask(inputs[0]) if self.dropout else inputs[0].float()
            return output + (self.scale * (kept @ down.transpose(1, 2)) @ up.transpose(1, 2)).to(output)

        return add

    def _mask(self, inputs: torch.Tensor) -> torch.Tensor:
        """0 for what is left out, and for what is kept more than 1, so that the expected sum stays: [N, T, d_in]."""
        mask = torch.zeros(inputs.shape)
        for row, (length, generator) in enumerate(zip(self.lengths, self.generators, strict=True)):
            mask[row, :length] = torch.rand(length, inputs.shape[-1], generator=generator) >= self.dropout
        return mask.to(inputs.device) / (1 - self.dropout)

    def changes(self) -> Iterator[LowRankChange]:
        """One of each edit, as it is trained so far."""
        for row in range(len(self.lengths)):
            yield LowRankChange(
                {
                    path: (self.scale * up[row].detach(), down[row].detach().clone())
                    for path, (up, down) in self.factors.items()
                }
            )


def projections(layout: Layout) -> tuple[str, ...]:
    """Paths of what can be changed, relative to a layer: the projections of its attention and its MLP."""
    return (*layout.mixers, *layout.up_proj, layout.down_proj)


def usual_targets(spec: ModelSpec) -> tuple[str, ...]:
    """The projections of queries and values, by the names of the model's family.

    Raises:
        RequestError: they have other names than are known.
    """
    names = [path.rpartition(".")[2] for path in spec.layout.mixers]
    for usual in QUERY_AND_VALUE:
        if set(usual) <= set(names):
            return usual
    raise RequestError(
        f"The attention of {spec.name!r} has no projection of queries and values under a known name: give lora.targets some of "
        f"{', '.join(dict.fromkeys(path.rpartition('.')[2] for path in projections(spec.layout)))}."
    )
