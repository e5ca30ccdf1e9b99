"""What edits that stay do to the rest of a model: to its answers to unrelated questions, and to how well it expects a text."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from xkeb.editing.changes import Change
from xkeb.evaluation.protocols import TeacherForcingProtocol
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import installed_intervention
from xkeb.models.passes import TokenRow
from xkeb.models.states import answer_states, hidden_states, log_probabilities, positions_at_once
from xkeb.results.damage import LanguageDamage, TextLoss
from xkeb.types import Case, Prediction, Query

PROTOCOL = TeacherForcingProtocol()
"""How the questions are asked, whatever the protocol of the run."""
States = torch.Tensor | Prediction
"""Of a question, as `answer_states` gives them."""


@dataclass(frozen=True)
class Unrelated:
    """Questions of locality, and what the untouched model says to each."""

    queries: Sequence[Query]
    states: Sequence[States]
    texts: Sequence[str]


@dataclass(frozen=True)
class Compared:
    """A question, asked of the untouched model and under a change."""

    changed: bool
    """Whether the texts of the two answers differ."""
    kl: float | None
    """Mean over the positions of the answer, in nats; None where another model answered."""


class DamageMeter:
    """Measures a model under changes. The untouched one is passed the texts once."""

    def __init__(self, backbone: Backbone, passages: Mapping[str, Sequence[str]]) -> None:
        """
        Args:
            passages: of each language that is asked in, its text; empty where it has none.
        """
        self.backbone = backbone
        self.rows = {code: [row for part in parts if (row := self._row(part))] for code, parts in passages.items()}
        """Of each language, the passages in tokens."""

    def _row(self, text: str) -> TokenRow | None:
        """All tokens of a passage but the first are predicted; None where there is but one."""
        ids = self.backbone.encode(text).ids
        return TokenRow(ids, tuple(range(len(ids) - 1))) if len(ids) > 1 else None

    def questions(self, cases: Sequence[Case]) -> Unrelated:
        """The questions of locality of some cases, asked of the untouched model."""
        probes = [(case, probe) for case in cases for probe in case.probes if probe.property == "locality"]
        queries = [PROTOCOL.query(case, probe) for case, probe in probes]
        states = answer_states(self.backbone, queries)
        texts = [""] * len(queries)
        for group in self._groups(states):
            for i, logs in zip(group, self._logs([states[i] for i in group]), strict=True):
                texts[i] = self._text(logs)
        return Unrelated(queries, states, texts)

    def measure(self, change: Change, unrelated: Unrelated) -> dict[str, LanguageDamage]:
        """By language, what a model under a change answers and expects otherwise than the untouched one."""
        compared = self._compare(change, unrelated)
        before = self._untouched_losses
        with change.applied(self.backbone):
            after = self.losses()
        found = {}
        for code in self.rows:
            own = [one for query, one in zip(unrelated.queries, compared, strict=True) if query.language == code]
            kls = [one.kl for one in own if one.kl is not None]
            found[code] = LanguageDamage(
                n=len(own),
                changed=sum(one.changed for one in own),
                n_kl=len(kls),
                kl=_finite(sum(kls) / len(kls)) if kls else None,
                text=self._text_loss(code, before[code], after[code]) if code in before else None,
            )
        return found

    # Questions --------------------------------------------------------------------------------------------------------

    def _compare(self, change: Change, unrelated: Unrelated) -> list[Compared]:
        with change.applied(self.backbone):
            answers = answer_states(self.backbone, unrelated.queries)
        found: dict[int, Compared] = {}
        for i, answer in enumerate(answers):
            if isinstance(answer, Prediction):
                found[i] = Compared(answer.text != unrelated.texts[i], None)
        for group in self._groups(answers):
            with change.applied(self.backbone):  # the head may be a part of what is changed
                edited = self._logs([answers[i] for i in group])
            untouched = self._logs([unrelated.states[i] for i in group])
            for i, old, new in zip(group, untouched, edited, strict=True):
                found[i] = Compared(self._text(new) != unrelated.texts[i], _divergence(old, new))
        return [found[i] for i in range(len(answers))]

    def _groups(self, states: Sequence[States]) -> Iterator[list[int]]:
        """Questions that the backbone itself answers, as many as may have their distributions at once, or one."""
        most = positions_at_once(self.backbone)
        group: list[int] = []
        held = 0
        for i, own in enumerate(states):
            if isinstance(own, Prediction):
                continue
            if group and held + len(own) > most:
                yield group
                group, held = [], 0
            group.append(i)
            held += len(own)
        if group:
            yield group

    def _logs(self, states: Sequence[States]) -> list[torch.Tensor]:
        """Log-probabilities of each question: [positions, vocabulary]."""
        own = [one for one in states if isinstance(one, torch.Tensor)]
        return list(log_probabilities(self.backbone, torch.cat(own)).split([len(one) for one in own]))

    def _text(self, logs: torch.Tensor) -> str:
        return self.backbone.decode(logs.argmax(-1).tolist()).text

    # Texts ------------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _untouched_losses(self) -> dict[str, float]:
        return self.losses()

    def losses(self) -> dict[str, float]:
        """Of each language that has a text, the mean negative log-likelihood of its tokens to the model as it is now."""
        return {code: self._loss(rows) for code, rows in self.rows.items() if rows}

    def _loss(self, rows: Sequence[TokenRow]) -> float:
        states = torch.cat(hidden_states(self.backbone, rows, installed_intervention(self.backbone)))
        tokens = torch.tensor([token for row in rows for token in row.ids[1:]], device=states.device)
        total, size = 0.0, positions_at_once(self.backbone)
        for own, said in zip(states.split(size), tokens.split(size), strict=True):
            logs = log_probabilities(self.backbone, own)
            total -= float(logs.gather(-1, said[:, None]).double().sum())
        return total / len(tokens)

    def _text_loss(self, code: str, before: float, after: float) -> TextLoss:
        tokens = sum(len(row.positions) for row in self.rows[code])
        return TextLoss(tokens=tokens, loss=_finite(after), loss_before=_finite(before))


def _divergence(untouched: torch.Tensor, edited: torch.Tensor) -> float | None:
    """KL(untouched || edited) of log-probabilities [positions, vocabulary], mean over positions; not below 0 by rounding. None
    where a context has given the answer other tokens."""
    if untouched.shape != edited.shape or not len(untouched):
        return None
    return float((untouched.exp() * (untouched - edited)).sum(-1).double().mean().clamp(min=0))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
