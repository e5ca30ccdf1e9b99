"""The value that makes the model answer with the new target, found by gradient descent (Meng et al., 2022, Eq. 4).

Many edits at once, each with its own vector and its own stopping; layers below the edited one, and tokens before the
subject's last, are computed once (`xkeb.tail`); the head runs at target positions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from xkeb.backbone import Backbone
from xkeb.tail import Tail
from xkeb.types import Edit


@dataclass(frozen=True, slots=True)
class ValueOptions:
    """How the value is optimised."""

    steps: int
    lr: float
    kl_factor: float
    weight_decay: float
    clamp: float
    """Largest norm of the change, in norms of the value it is added to."""
    stop_loss: float


@dataclass(frozen=True, slots=True)
class Found:
    """Key and value of one edit at the subject's last token."""

    key: torch.Tensor
    """[d_in] Mean input of the down-projection over the context prefixes, the empty one among them."""
    bare_key: torch.Tensor
    """[d_in] Its input in the prompt without a prefix."""
    old_value: torch.Tensor
    """[d_out] Its output there, as the model has it."""
    new_value: torch.Tensor
    """[d_out] The output wanted there."""
    losses: tuple[float, ...]
    """Total loss before each step, and at the end."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """The texts of a batch of edits: for each, its prompt after every prefix, then the text that must not drift."""

    ids: list[tuple[int, ...]]
    sites: list[int]
    """Index of the subject's last token."""
    edit_of: list[int]
    targets: list[tuple[int, int, int]]
    """(row, position in the row, target id) of every target token."""
    drift: list[int]
    """Row of each edit's "{subject} is a"."""


def find_values(
    backbone: Backbone, edits: Sequence[Edit], layer: int, prefixes: Sequence[str], options: ValueOptions
) -> list[Found]:
    """Key and optimised value of each edit at a layer's down-projection.

    The value is what leaves the down-projection, before any norm that the block puts on its MLP's output, so that a
    change of that matrix can write it.
    """
    rows = _rows(backbone, edits, prefixes)
    tail = Tail(backbone, layer, rows.ids, rows.sites)
    module = backbone.module(backbone.layout.down(layer))
    edit_of = torch.tensor(rows.edit_of, device=backbone.device)
    keys, values = _at_site(tail, module)
    bare = torch.tensor([rows.edit_of.index(i) for i in range(len(edits))], device=backbone.device)
    old = values[bare].float()  # (n, d_out); an edit's first row is its bare prompt
    drift = torch.tensor(rows.drift, device=backbone.device)
    with torch.no_grad():
        reference = backbone.logits(tail.base[drift, 0]).float().log_softmax(-1)  # (n, vocabulary)

    deltas = [torch.zeros_like(value, requires_grad=True) for value in old]
    optimiser = torch.optim.Adam(deltas, lr=options.lr)
    losses: list[list[float]] = [[] for _ in edits]
    active = list(range(len(edits)))
    for step in range(options.steps):
        optimiser.zero_grad()
        chosen = torch.tensor([i for i, e in enumerate(rows.edit_of) if e in set(active)], device=backbone.device)
        total = _loss(tail, module, rows, chosen, edit_of, deltas, old, reference, active, options)
        for i, loss in zip(active, total.tolist(), strict=True):
            losses[i].append(loss)
        # As the reference implementation has it: no step after the last look at the loss.
        going = [k for k, i in enumerate(active) if losses[i][-1] >= options.stop_loss]
        if not going or step == options.steps - 1:
            break
        total[going].sum().backward()
        active = [active[k] for k in going]
        for i in set(range(len(edits))).difference(active):
            deltas[i].grad = None  # else a zero gradient, and Adam's momentum would carry on what has stopped
        optimiser.step()
        with torch.no_grad():
            for i in active:
                limit = options.clamp * old[i].norm()
                if deltas[i].norm() > limit:
                    deltas[i].mul_(limit / deltas[i].norm())
    found = []
    for i in range(len(edits)):
        own = [row for row, e in enumerate(rows.edit_of) if e == i and row != rows.drift[i]]
        key = keys[own].float().mean(0)
        found.append(Found(key, keys[own[0]].float(), old[i], old[i] + deltas[i].detach(), tuple(losses[i])))
    return found


def _rows(backbone: Backbone, edits: Sequence[Edit], prefixes: Sequence[str]) -> _Rows:
    rows = _Rows([], [], [], [], [])
    for i, edit in enumerate(edits):
        for prefix in prefixes:
            encoded = backbone.encode(prefix + edit.prompt, edit.target, edit.language)
            rows.targets.extend((len(rows.ids), at, encoded.ids[at]) for at in range(encoded.target, len(encoded.ids)))
            rows.ids.append(encoded.ids[:-1])  # the last target token predicts nothing
            rows.sites.append(backbone.subject_last(edit, prefix))
            rows.edit_of.append(i)
        essence = Edit(f"{edit.subject} is a", "", edit.language, edit.subject)
        site = backbone.subject_last(essence)
        rows.drift.append(len(rows.ids))
        rows.ids.append(backbone.encode(essence.prompt).ids[: site + 1])  # only the subject's last token is looked at
        rows.sites.append(site)
        rows.edit_of.append(i)
    return rows


@torch.no_grad()
def _at_site(tail: Tail, module: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Input and output of the down-projection at each row's site: [B, d_in], [B, d_out]."""
    seen: list[torch.Tensor] = []

    def keep(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen.extend((inputs[0][:, 0], output[:, 0]))

    handle = module.register_forward_hook(keep)
    try:
        tail.run()
    finally:
        handle.remove()
    return seen[0], seen[1]


def _loss(
    tail: Tail,
    module: torch.nn.Module,
    rows: _Rows,
    chosen: torch.Tensor,
    edit_of: torch.Tensor,
    deltas: Sequence[torch.Tensor],
    old: torch.Tensor,
    reference: torch.Tensor,
    active: Sequence[int],
    options: ValueOptions,
) -> torch.Tensor:
    """Total loss of each active edit: mean negative log-likelihood of its target over the prefixes, the drift of the
    next token after its subject (KL divergence), and the norm of the change."""
    backbone = tail.backbone
    stacked = torch.stack(list(deltas))  # (n, d_out)

    def add(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        at_site = output[:, :1] + stacked[edit_of[chosen]].unsqueeze(1).to(output)
        return torch.cat([at_site, output[:, 1:]], 1)

    handle = module.register_forward_hook(add)
    try:
        hidden = tail.run(chosen)  # (b, S, D)
    finally:
        handle.remove()
    place = {int(row): k for k, row in enumerate(chosen)}
    wanted = [(place[row], at, token) for row, at, token in rows.targets if row in place]
    at_rows = torch.tensor([row for row, _, _ in wanted], device=hidden.device)
    at = torch.tensor(
        [position - 1 - rows.sites[int(chosen[row])] for row, position, _ in wanted], device=hidden.device
    )
    tokens = torch.tensor([token for _, _, token in wanted], device=hidden.device)
    drift_rows = torch.tensor([place[rows.drift[i]] for i in active], device=hidden.device)
    logits = backbone.logits(torch.cat([hidden[at_rows, at], hidden[drift_rows, 0]])).float()  # one pass of the head
    nll = F.cross_entropy(logits[: len(wanted)], tokens, reduction="none")
    drifted = logits[len(wanted) :].log_softmax(-1)
    owner = edit_of[chosen][at_rows]
    index = {i: k for k, i in enumerate(active)}
    slots = torch.tensor([index[int(i)] for i in owner], device=hidden.device)
    counts = torch.bincount(slots, minlength=len(active))
    mean_nll = nll.new_zeros(len(active)).index_add(0, slots, nll) / counts
    now = torch.tensor(active, device=hidden.device)
    kl = F.kl_div(drifted, reference[now], log_target=True, reduction="none").sum(-1)
    norms = stacked[now].norm(dim=-1) / old[now].norm(dim=-1) ** 2
    return mean_nll + options.kl_factor * kl + options.weight_decay * norms
