"""FT: fine-tuning of one layer's down-projection; FT-L, the same under an L-infinity bound (Zhu et al., 2020); and FT-M, which
trains each target token at its own place (Zhang et al., 2024, https://arxiv.org/abs/2401.01286)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt

from xkeb.editing.changes import DenseChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor, known
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.batching import group_by_length
from xkeb.models.layout import widths
from xkeb.models.spec import ModelSpec
from xkeb.models.suffix import SuffixForward
from xkeb.types import Edit
from xkeb_plugins.methods.token_gradients import tokens_for_backward
from xkeb_plugins.methods.tuned import tuned_settings


@dataclass(frozen=True, slots=True)
class TrainingText:
    """What one edit is learned from."""

    ids: tuple[int, ...]
    targets: tuple[tuple[int, int], ...]
    """Of each target token, the position whose logits predict it, and its id."""


@dataclass
class FineTuning(Editor):
    """FT: Adam on one down-projection, every target token predicted from the prompt's last position."""

    name: ClassVar[str] = "ft"
    """What its messages and tuned settings go by."""
    in_paper: ClassVar[bool] = True

    layer: int | None = None
    """Edited layer. None: the tuned one, or as deep as layer 21 of LLaMA-7B's 32."""
    steps: PositiveInt = 25
    lr: float | None = None
    """Step size. None: the tuned one, or 5e-4."""
    stop_loss: float = 1e-2
    """Loss below which no step is taken."""

    def usual(self, spec: ModelSpec) -> dict[str, Any]:
        """Options that depend on the model, where none are tuned."""
        return {"layer": spec.scale_layer(21, of=32), "lr": 5e-4}

    def configure(self, spec: ModelSpec) -> Self:
        me = self.filled(self.usual(spec) | tuned_settings(self.name, spec))
        if not 0 <= known(me.layer) < spec.n_layers:
            raise RequestError(f"{self.name}.layer is {me.layer}; {spec.name!r} has layers 0 to {spec.n_layers - 1}.")
        return me

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[DenseChange]:
        """One dense change of a down-projection for each edit. Each has weights, optimizer and stopping of its own;
        the layers below, and the keys that enter the matrix, are computed once."""
        me = self.configure(backbone.spec)
        texts = [me.text(backbone, edit) for edit in edits]
        changes: dict[int, DenseChange] = {}
        most_tokens = tokens_for_backward(backbone, known(me.layer))
        for group in group_by_length(
            [len(text.ids) for text in texts], backbone.saturating_tokens, most_tokens=most_tokens
        ):
            changes.update(zip(group, me._train(backbone, [texts[i] for i in group]), strict=True))
        return [changes[i] for i in range(len(edits))]

    def _train(self, backbone: Backbone, texts: Sequence[TrainingText]) -> list[DenseChange]:
        """The changes of texts that share their passes."""
        layer = known(self.layer)
        path = backbone.layout.down(layer)
        module = backbone.module(path)
        d_in, d_out = widths(module)
        suffix = SuffixForward(backbone, layer, [text.ids for text in texts], changed=path)
        targets = [text.targets for text in texts]
        place = backbone.parameter(f"{path}.weight").device
        deltas = [torch.zeros(d_out, d_in, device=place, requires_grad=True) for _ in texts]
        optimizer = torch.optim.Adam(
            deltas, lr=known(self.lr), fused=True
        )  # nothing of the size of all changes beside them
        active = list(range(len(texts)))
        for _ in range(self.steps):
            optimizer.zero_grad()
            losses = text_losses(suffix, module, deltas, targets, active)
            going = [k for k, loss in enumerate(losses.tolist()) if loss >= self.stop_loss]
            if not going:
                break
            losses[going].sum().backward()
            active = [active[k] for k in going]
            for i in set(range(len(texts))).difference(active):
                deltas[i].grad = None  # Adam's momentum must not carry on what has stopped
            optimizer.step()
            self.restrict(deltas)
        return [DenseChange({f"{path}.weight": delta.detach()}) for delta in deltas]

    def text(self, backbone: Backbone, edit: Edit) -> TrainingText:
        """What is learned from: the prompt, all target tokens at its end.

        That is where a user's question ends, before any token of the separator alone: EasyEdit tokenises the prompt by itself,
        and the target with the space before it.
        """
        encoded = backbone.encode(edit.prompt, edit.target, edit.language)
        last = encoded.prompt_end - 1
        return TrainingText(encoded.ids[: last + 1], tuple((last, token) for token in encoded.continuation_ids))

    def restrict(self, deltas: Sequence[torch.Tensor]) -> None:
        """After each step: does nothing."""

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[DenseChange]:
        return session.in_steps(
            self.steps, lambda steps: dataclasses.replace(self, steps=steps)._edit_dry(session, edits)
        )

    def _edit_dry(self, session: DryRunSession, edits: Sequence[Edit]) -> list[DenseChange]:
        return self.edit(session.backbone, edits)


@dataclass
class BoundedFineTuning(FineTuning):
    """FT-L: FT, each weight kept near its old value."""

    name: ClassVar[str] = "ft-l"
    in_paper: ClassVar[bool] = False

    norm_constraint: Annotated[float, Field(gt=0)] = 5e-5
    """Largest change of a single weight."""

    def restrict(self, deltas: Sequence[torch.Tensor]) -> None:
        """Projects on the bound."""
        with torch.no_grad():
            for delta in deltas:
                delta.clamp_(-self.norm_constraint, self.norm_constraint)


@dataclass
class MaskedFineTuning(FineTuning):
    """FT-M: Adam on one down-projection, by the likelihood of the target's tokens, each after those before it."""

    name: ClassVar[str] = "ft-m"
    in_paper: ClassVar[bool] = False

    def text(self, backbone: Backbone, edit: Edit) -> TrainingText:
        """What is learned from: prompt and target. A separator that is a token of its own is one of the target's."""
        encoded = backbone.encode(edit.prompt, edit.target, edit.language)
        first = encoded.prompt_end - 1
        return TrainingText(encoded.ids[:-1], tuple(enumerate(encoded.continuation_ids, first)))


def text_losses(
    suffix: SuffixForward,
    module: torch.nn.Module,
    deltas: Sequence[torch.Tensor],
    targets: Sequence[Sequence[tuple[int, int]]],
    active: Sequence[int],
) -> torch.Tensor:
    """Mean negative log-likelihood of each active edit's target under its own delta: [len(active)]."""

    def add(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        extra = [keys.float() @ deltas[i].T for i, keys in zip(active, inputs[0], strict=True)]
        return output + torch.stack(extra).to(output)

    device = suffix.backbone.device
    rows = [sorted({position for position, _ in targets[i]}) for i in active]
    most = max(map(len, rows))
    columns = torch.tensor([row + row[-1:] * (most - len(row)) for row in rows], device=device)  # (b, n)
    handle = module.register_forward_hook(add)
    try:
        hidden = suffix.run(torch.tensor(active, device=device), columns)  # (b, n, D)
    finally:
        handle.remove()
    places = [(k, slot) for k, row in enumerate(rows) for slot in range(len(row))]
    at = {(k, rows[k][slot]): place for place, (k, slot) in enumerate(places)}
    owners, slots = (torch.tensor(column, device=device) for column in zip(*places, strict=True))
    logits = suffix.backbone.logits(hidden[owners, slots]).float()  # the head runs once a position
    triples = [(k, at[k, position], token) for k, i in enumerate(active) for position, token in targets[i]]
    owner, place, tokens = (torch.tensor(column, device=device) for column in zip(*triples, strict=True))
    losses = F.cross_entropy(logits[place], tokens, reduction="none")
    counts = torch.bincount(owner, minlength=len(active))
    return losses.new_zeros(len(active)).index_add(0, owner, losses) / counts
