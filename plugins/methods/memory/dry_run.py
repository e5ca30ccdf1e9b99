"""A gate that reads states, without weights, for what it needs: reading the training questions, learning, reading what is
asked."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.training import dry_run_training
from xkeb.types import Edit
from xkeb_plugins.methods.memory.states import States, mean_states
from xkeb_plugins.methods.memory.training import MapTraining

READ = 128
"""Texts that stand for all, those of the most tokens."""


def dry_run_gate(session: DryRunSession, training: MapTraining, edits: Sequence[Edit]) -> None:
    """Trains the gate dry, and reads the questions of the edits and of the batch."""
    backbone = session.backbone
    with session.phase("fit"):
        texts = list(dict.fromkeys(question.text for question in training.questions()))
        longest = sorted(texts, key=lambda text: len(backbone.encode(text).ids), reverse=True)[:READ]
        with session.times(len(texts) / len(longest)):
            mean_states(backbone, training.layer, longest)
        matrix = torch.empty(len(texts), backbone.layout.hidden_size, device=backbone.device)
        states = States({text: i for i, text in enumerate(texts)}, matrix)
        trainee = training.trainee(training.space(states), states)
        dry_run_training(session, trainee, training.facts, training.held_out, training.schedule)
        session.retained += [parameter.detach() for parameter in trainee.parameters()]
    with session.phase("edit"):
        mean_states(backbone, training.layer, [edit.prompt for edit in edits])
    with session.phase("evaluate"):
        mean_states(backbone, training.layer, [probe.prompt for case in session.batch for probe in case.probes])
