"""The value that makes the model answer with the new target, found by gradient descent (Meng et al., 2022, Eq. 4).

Many edits at once, each with its own vector and its own stopping; layers below the edited one, and tokens before the
subject's last, are computed once (`xkeb.models.suffix`); the head runs at target positions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from xkeb.editing.editor import known
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.batching import group_by_length
from xkeb.models.suffix import SuffixForward
from xkeb.types import Edit
from xkeb_plugins.methods.locate.reachability import why_unreachable
from xkeb_plugins.methods.token_gradients import tokens_for_backward


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
class KeyValue:
    """Key and value of one edit at the subject's last token: what enters a module there, and what should leave it."""

    key: torch.Tensor
    """[d_in] Mean input of the module over the context prefixes, the empty one among them."""
    bare_key: torch.Tensor
    """[d_in] Its input in the prompt without a prefix."""
    mean_value: torch.Tensor
    """[d_out] Mean output of the module over the same prefixes, as the model has it."""
    old_value: torch.Tensor
    """[d_out] Its output in the prompt without a prefix, as the model has it."""
    new_value: torch.Tensor
    """[d_out] The output wanted there."""
    losses: tuple[float, ...]
    """Total loss before each step, and at the end."""


def optimize_values(
    backbone: Backbone,
    edits: Sequence[Edit],
    layer: int,
    prefixes: Sequence[str],
    options: ValueOptions,
    module: str | None = None,
) -> list[KeyValue]:
    """Key and optimised value of each edit at a layer's down-projection, or at another module of that layer.

    The value of a down-projection is what leaves it, before any norm that the block puts on its MLP's output, so that a
    change of that matrix can write it.

    Args:
        module: path of the module whose output is the value: the decoder layer itself, say, for the residual stream that
            leaves it. None: the layer's down-projection.

    Raises:
        RequestError: an edit that no value there can make.
    """
    for edit in edits:
        if reason := why_unreachable(backbone, edit, layer):
            raise RequestError(f"The edit to {edit.target!r} can't be made: {reason}.")
    path = module or backbone.layout.down(layer)
    facts: dict[int, KeyValue] = {}
    for group in group_edits(backbone, edits, layer, len(prefixes) + 1):
        values = _optimize_group(backbone, [edits[i] for i in group], layer, prefixes, options, path)
        facts.update(zip(group, values, strict=True))
    return [facts[i] for i in range(len(edits))]


def group_edits(backbone: Backbone, edits: Sequence[Edit], layer: int, rows: int) -> list[list[int]]:
    """Which edits' values are optimised in one batch: those with about as many tokens from the subject's last on, and so many
    that about `Backbone.activation_budget` bytes are kept for the backward pass.

    Args:
        rows: texts of each edit.
    """
    texts = [backbone.encode(edit.prompt, edit.target, edit.language).ids for edit in edits]
    tokens = [rows * (len(ids) - 1 - backbone.subject_last(edit)) for ids, edit in zip(texts, edits, strict=True)]
    return group_by_length(tokens, backbone.saturating_tokens, most_tokens=tokens_for_backward(backbone, layer))


def _optimize_group(
    backbone: Backbone,
    edits: Sequence[Edit],
    layer: int,
    prefixes: Sequence[str],
    options: ValueOptions,
    module: str,
) -> list[KeyValue]:
    """The values of one batch."""
    search = _Search(backbone, edits, layer, prefixes, options, module)
    deltas = [torch.zeros_like(value, requires_grad=True) for value in search.old]
    optimizer = torch.optim.Adam(deltas, lr=options.lr)
    losses: list[list[float]] = [[] for _ in edits]
    active = list(range(len(edits)))
    for step in range(options.steps):
        optimizer.zero_grad()
        total = search.loss(torch.stack(deltas), active)
        for i, loss in zip(active, total.tolist(), strict=True):
            losses[i].append(loss)
        going = [k for k, i in enumerate(active) if losses[i][-1] >= options.stop_loss]
        # As the reference implementation has it: no step after the last look at the loss.
        if not going or step == options.steps - 1:
            break
        total[going].sum().backward()
        active = [active[k] for k in going]
        for i in set(range(len(edits))).difference(active):
            deltas[i].grad = None  # else a zero gradient, and Adam's momentum would carry on what has stopped
        optimizer.step()
        with torch.no_grad():
            for i in active:
                limit = options.clamp * search.old[i].norm()
                if deltas[i].norm() > limit:
                    deltas[i].mul_(limit / deltas[i].norm())
    return [search.key_value(i, delta.detach(), losses[i]) for i, delta in enumerate(deltas)]


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows that share a pass."""

    rows: Sequence[int]
    """Their indices among all, rising."""
    owner: torch.Tensor
    """[rows] which edit each belongs to."""
    suffix: SuffixForward


class _Search:
    """The texts of a batch of edits, with what doesn't change while their values are optimised.

    Each edit has a row for every prefix, the empty one first, and one for "{subject} is a", where the next token after
    the subject must not drift.
    """

    def __init__(
        self,
        backbone: Backbone,
        edits: Sequence[Edit],
        layer: int,
        prefixes: Sequence[str],
        options: ValueOptions,
        module: str,
    ) -> None:
        self.backbone, self.options = backbone, options
        self.ids: list[tuple[int, ...]] = []
        self.sites: list[int] = []
        """Index of the subject's last token in each row."""
        self.targets: list[tuple[int, int, int]] = []
        """(row, position after the site, target id) of every prediction that counts."""
        self.drift: list[int] = []
        """Row of each edit's "{subject} is a"."""
        self.owners: list[int] = []
        """Which edit each row belongs to."""
        for i, edit in enumerate(edits):
            for prefix in prefixes:
                self._add_prompt(edit, prefix)
                self.owners.append(i)
            self.drift.append(len(self.ids))
            self._add_drift(edit)
            self.owners.append(i)
        device = backbone.device
        self.first = torch.tensor([self.owners.index(i) for i in range(len(edits))], device=device)
        self.module = backbone.module(module)
        self.parts = [self._part(rows, layer, module) for rows in self._rows_together()]
        order = torch.tensor([row for part in self.parts for row in part.rows], device=device).argsort()
        entering, leaving = zip(*(known(part.suffix.changed) for part in self.parts), strict=True)
        self.keys, self.values = torch.cat(entering)[order], torch.cat(leaving)[order]  # (rows, d_in), (rows, d_out)
        self.old = self.values[self.first].float()  # (n, d_out) in the bare prompt
        with torch.no_grad():
            ends = torch.cat([part.suffix.base[torch.arange(len(part.rows)), part.suffix.sites] for part in self.parts])
            self.reference = backbone.logits(ends[order][self.drift]).float().log_softmax(-1)  # (n, vocabulary)

    def _add_prompt(self, edit: Edit, prefix: str) -> None:
        encoded = self.backbone.encode(edit.prompt, edit.target, edit.language, context=prefix)
        site = self.backbone.subject_last(edit, prefix)
        predicted = range(encoded.prompt_end, len(encoded.ids))
        self.targets.extend((len(self.ids), at - 1 - site, encoded.ids[at]) for at in predicted)
        self.ids.append(encoded.ids[:-1])  # the last target token predicts nothing
        self.sites.append(site)

    def _add_drift(self, edit: Edit) -> None:
        essence = Edit(f"{edit.subject} is a", "", edit.language, edit.subject)
        site = self.backbone.subject_last(essence)
        self.ids.append(self.backbone.encode(essence.prompt).ids[: site + 1])  # nothing after it is looked at
        self.sites.append(site)

    def _rows_together(self) -> list[list[int]]:
        """The rows of each pass: all in one, or, where that saves more than a pass costs, those in which only the subject's
        last token runs by themselves."""
        aligned = self.backbone.alignment.pads_left
        lengths = [len(ids) - (site if aligned else 0) for ids, site in zip(self.ids, self.sites, strict=True)]
        longest = max(lengths)
        padding = sum(longest - lengths[row] for row in self.drift)
        if padding < self.backbone.saturating_tokens / 4:
            return [list(range(len(self.ids)))]
        apart = set(self.drift)
        return [[row for row in range(len(self.ids)) if row not in apart], self.drift]

    def _part(self, rows: Sequence[int], layer: int, module: str) -> _Part:
        ids, sites = [self.ids[row] for row in rows], [self.sites[row] for row in rows]
        suffix = SuffixForward(self.backbone, layer, ids, sites, changed=module)
        return _Part(rows, torch.tensor([self.owners[row] for row in rows], device=self.backbone.device), suffix)

    def loss(self, deltas: torch.Tensor, active: Sequence[int]) -> torch.Tensor:
        """Total loss of each active edit: mean negative log-likelihood of its target over the prefixes, the drift of the
        next token after its subject (KL divergence), and the norm of the change.

        Args:
            deltas: [n, d_out] what is added to each edit's value.

        Returns:
            [len(active)]
        """
        slot = {i: k for k, i in enumerate(active)}
        targets = [(row, after, token) for row, after, token in self.targets if self.owners[row] in slot]
        asked = [*((row, after) for row, after, _ in targets), *((self.drift[i], 0) for i in active)]
        # One pass of the head, the costly part of a small model, for all that is looked at.
        logits = self.backbone.logits(self._changed(deltas, asked)).float()
        tokens = torch.tensor([token for _, _, token in targets], device=logits.device)
        nll = F.cross_entropy(logits[: len(targets)], tokens, reduction="none")
        drifted = logits[len(targets) :].log_softmax(-1)

        slots = torch.tensor([slot[self.owners[row]] for row, _, _ in targets], device=logits.device)
        counts = torch.bincount(slots, minlength=len(active))
        mean_nll = nll.new_zeros(len(active)).index_add(0, slots, nll) / counts
        now = torch.tensor(active, device=logits.device)
        # KL(edited || untouched), in this order: kl_div takes the reference distribution second.
        kl = F.kl_div(self.reference[now], drifted, log_target=True, reduction="none").sum(-1)
        norms = deltas[now].norm(dim=-1) / self.old[now].norm(dim=-1) ** 2
        return mean_nll + self.options.kl_factor * kl + self.options.weight_decay * norms

    def _changed(self, deltas: torch.Tensor, asked: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Final hidden states where they are asked for, with each edit's delta added at its site: [len(asked), hidden_size].

        Args:
            asked: (row, position after its site) of each, no two alike.
        """
        by_row: dict[int, list[int]] = {}
        for row, after in asked:
            by_row.setdefault(row, []).append(after)
        places: dict[tuple[int, int], int] = {}
        states: list[torch.Tensor] = []
        for part in self.parts:
            members = [k for k, row in enumerate(part.rows) if row in by_row]
            if not members:
                continue
            wanted = [by_row[part.rows[k]] for k in members]
            most = max(map(len, wanted))
            columns = torch.tensor([own + own[-1:] * (most - len(own)) for own in wanted], device=deltas.device)
            chosen = torch.tensor(members, device=deltas.device)
            hidden = self._changed_in(part, deltas, chosen, columns)  # (b, n, D)
            for k, own in zip(members, wanted, strict=True):
                for position in own:
                    places[part.rows[k], position] = len(places)
            at, slots = zip(*((k, slot) for k, own in enumerate(wanted) for slot in range(len(own))), strict=True)
            states.append(hidden[list(at), list(slots)])
        return torch.cat(states)[[places[one] for one in asked]]

    def _changed_in(self, part: _Part, deltas: torch.Tensor, chosen: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Of some rows of one pass: [b, n, hidden_size].

        Args:
            chosen: [b] which of the part's rows.
            after: [b, n] positions after their sites.
        """
        sites = part.suffix.sites[chosen]

        def add(_: Any, inputs: tuple[torch.Tensor, ...], output: Any) -> Any:
            hidden = output[0] if isinstance(output, tuple | list) else output
            added = deltas[part.owner[chosen]].to(hidden)
            columns = sites.to(hidden.device)
            if not columns.any():  # the usual case, without a copy for the way back
                changed = torch.cat([hidden[:, :1] + added.unsqueeze(1), hidden[:, 1:]], 1)
            else:
                everyone = torch.arange(len(columns), device=hidden.device)
                changed = hidden.index_put((everyone, columns), added, accumulate=True)
            return type(output)([changed, *output[1:]]) if isinstance(output, tuple | list) else changed

        handle = self.module.register_forward_hook(add)
        try:
            return part.suffix.run(chosen, sites.unsqueeze(1) + after)
        finally:
            handle.remove()

    def key_value(self, i: int, delta: torch.Tensor, losses: Sequence[float]) -> KeyValue:
        """The key and the value of edit `i`."""
        own = [row for row, owner in enumerate(self.owners) if owner == i and row != self.drift[i]]
        bare = int(self.first[i])
        return KeyValue(
            self.keys[own].float().mean(0),
            self.keys[bare].float(),
            self.values[own].float().mean(0),
            self.old[i],
            self.old[i] + delta,
            tuple(losses),
        )
