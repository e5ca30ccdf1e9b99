"""SCR without weights, for what it needs: the cut-offs, the edits' vectors, and the model's word on every question."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xkeb.editing.dry_run import DryRunSession
from xkeb.types import Case, Edit
from xkeb_plugins.methods.encoders import FakeEncoder
from xkeb_plugins.methods.memory.facts import said
from xkeb_plugins.methods.scr.confirm import Pair, confirming_style, log_odds
from xkeb_plugins.methods.scr.cutoff import questions_of, trials

ASKED = 128
"""Pairs that stand for all, the longest."""


def dry_run_cutoffs(session: DryRunSession, encoder: str, cases: Sequence[Case], k: int) -> None:
    """What choosing the cut-offs on some facts needs. Which facts are near can't be known: some are asked about."""
    backbone = session.backbone
    questions, facts = questions_of(cases), [said(case.edit) for case in cases]
    with session.phase("fit"):
        FakeEncoder(encoder).embed([*questions, *facts])
        with session.paused():
            every = trials(cases, torch.zeros(len(questions), len(facts)), k, seed=0)
        pairs = list(dict.fromkeys(Pair(facts[place], trial.question.text) for trial in every for place in trial.met))
        longest = sorted(pairs, key=lambda pair: -len("".join(pair)))[:ASKED]
        with session.times(len(pairs) / len(longest)):
            log_odds(backbone, confirming_style(backbone), longest)


def dry_run_gate(session: DryRunSession, encoder: str, edits: Sequence[Edit]) -> None:
    """The vectors of the edits, and the model's word on each question of the batch and its edit."""
    backbone = session.backbone
    model = FakeEncoder(encoder)
    session.retained.append(model.model)
    model.embed([said(edit) for edit in edits])
    with session.phase("evaluate"):
        pairs = [Pair(said(case.edit), probe.prompt) for case in session.batch for probe in case.probes]
        log_odds(backbone, confirming_style(backbone), pairs)
