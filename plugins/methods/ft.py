"""FT: fine-tuning of one layer's down-projection under an L-infinity bound (Zhu et al., 2020; FT-L in Meng et al., 2022), and
FT-M, which trains each target token at its own place (Zhang et al., 2024, https://arxiv.org/abs/2401.01286)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import PositiveInt

from xkeb.editing.changes import DenseChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor, known
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.layout import widths
from xkeb.models.spec import ModelSpec
from xkeb.models.suffix import SuffixForward
from xkeb.types import Edit
from xkeb_plugins.methods.tuned import tuned_settings


@dataclass
class FineTuning(Editor):
    """FT: Adam on one down-projection, each weight kept near its old value."""

    name: ClassVar[str] = "ft"
    """What its messages and tuned settings go by."""
    in_paper: ClassVar[bool] = True

    layer: int | None = None
    """Edited layer. None: the tuned one, or as deep as layer 21 of LLaMA-7B's 32."""
    steps: PositiveInt = 25
    lr: float | None = None
    """Step size. None: the tuned one, or 5e-4."""
    norm_constraint: float | None = None
    """Largest change of a single weight; None for no bound, as in EasyEdit's settings for LLaMA."""
    objective: Literal["prompt_last", "target_new"] = "prompt_last"
    """``prompt_last`` trains every target token at the prompt's last position, as EasyEdit does by default and the paper
    did; ``target_new`` each at its own. A separator that is a token of its own is one of them."""
    stop_loss: float = 1e-2

    def configure(self, spec: ModelSpec) -> Self:
        usual = {"layer": spec.scale_layer(21, of=32), "lr": 5e-4}
        me = self.filled(usual | tuned_settings(self.name, spec))
        if not 0 <= known(me.layer) < spec.n_layers:
            raise RequestError(f"{self.name}.layer is {me.layer}; {spec.name!r} has layers 0 to {spec.n_layers - 1}.")
        return me

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[DenseChange]:
        """One dense change of a down-projection for each edit. Each has weights, optimizer and stopping of its own;
        the layers below, and the keys that enter the matrix, are computed once."""
        me = self.configure(backbone.spec)
        layer = known(me.layer)
        path = backbone.layout.down(layer)
        module = backbone.module(path)
        d_in, d_out = widths(module)
        rows, targets = _positions(backbone, edits, me.objective)
        suffix = SuffixForward(backbone, layer, rows)
        place = backbone.parameter(f"{path}.weight").device
        deltas = [torch.zeros(d_out, d_in, device=place, requires_grad=True) for _ in edits]
        optimizer = torch.optim.Adam(
            deltas, lr=known(me.lr), fused=True
        )  # nothing of the size of all changes beside them
        active = list(range(len(edits)))
        for _ in range(me.steps):
            optimizer.zero_grad()
            losses = _losses(suffix, module, deltas, targets, active)
            going = [k for k, loss in enumerate(losses.tolist()) if loss >= me.stop_loss]
            if not going:
                break
            losses[going].sum().backward()
            active = [active[k] for k in going]
            for i in set(range(len(edits))).difference(active):
                deltas[i].grad = None  # Adam's momentum must not carry on what has stopped
            optimizer.step()
            if me.norm_constraint is not None:
                with torch.no_grad():
                    for delta in deltas:
                        delta.clamp_(-me.norm_constraint, me.norm_constraint)
        return [DenseChange({f"{path}.weight": delta.detach()}) for delta in deltas]

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[DenseChange]:
        return session.in_steps(
            self.steps, lambda steps: dataclasses.replace(self, steps=steps)._edit_dry(session, edits)
        )

    def _edit_dry(self, session: DryRunSession, edits: Sequence[Edit]) -> list[DenseChange]:
        return self.edit(session.backbone, edits)


@dataclass
class MaskedFineTuning(FineTuning):
    """FT-M: Adam on one down-projection, by the likelihood of the target's tokens, each after those before it."""

    name: ClassVar[str] = "ft-m"
    in_paper: ClassVar[bool] = False

    objective: Literal["prompt_last", "target_new"] = field(default="target_new", init=False)


def _positions(
    backbone: Backbone, edits: Sequence[Edit], objective: str
) -> tuple[list[tuple[int, ...]], list[list[tuple[int, int]]]]:
    """The ids that each edit's loss needs, and (position whose logits are taken, target id) of each target token.

    The last position of ``prompt_last`` is where a user's question ends, before any token of the separator alone: EasyEdit
    tokenises the prompt by itself, and the target with the space before it.
    """
    rows, targets = [], []
    for edit in edits:
        encoded = backbone.encode(edit.prompt, edit.target, edit.language)
        last = encoded.prompt_end - 1
        if objective == "prompt_last":
            rows.append(encoded.ids[: last + 1])
            targets.append([(last, token) for token in encoded.continuation_ids])
        else:
            rows.append(encoded.ids[:-1])
            targets.append([(last + i, token) for i, token in enumerate(encoded.continuation_ids)])
    return rows, targets


def _losses(
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

    handle = module.register_forward_hook(add)
    try:
        hidden = suffix.run(torch.tensor(active, device=suffix.backbone.device))  # (b, S, D)
    finally:
        handle.remove()
    triples = [(row, position, token) for row, i in enumerate(active) for position, token in targets[i]]
    owner, at, tokens = (torch.tensor(column, device=hidden.device) for column in zip(*triples, strict=True))
    places, place = torch.stack([owner, at]).unique(dim=1, return_inverse=True)  # the head runs once a position
    logits = suffix.backbone.logits(hidden[places[0], places[1]]).float()
    losses = F.cross_entropy(logits[place], tokens, reduction="none")
    counts = torch.bincount(owner, minlength=len(active))
    return losses.new_zeros(len(active)).index_add(0, owner, losses) / counts
