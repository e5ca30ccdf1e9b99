"""SERAC without weights, for what it needs: both trainings, and answers of the counterfactual model."""

from __future__ import annotations

import torch

from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.training import dry_run_training
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.loader import find_skeleton, make_loader
from xkeb.models.prediction import predict
from xkeb.registry.manager import get_plugins
from xkeb.types import Query
from xkeb_plugins.methods.encoders import fake_encoder
from xkeb_plugins.methods.serac.artifact import taking_gradients
from xkeb_plugins.methods.serac.change import Router
from xkeb_plugins.methods.serac.counterfactual import shown
from xkeb_plugins.methods.serac.networks import NetworkTraining
from xkeb_plugins.methods.serac.scope import Encoder

NEVER = 2.0
"""More than any similarity."""


def dry_run_networks(session: DryRunSession, training: NetworkTraining) -> Router:
    """Trains both networks dry, and answers every question of the batch by the counterfactual model.

    Returns:
        a router that leaves every question to the backbone.
    """
    with session.phase("fit"):
        encoder = Encoder(*fake_encoder(training.classifier), sha256="")
        model = _counterfactual(training.counterfactual, session)
        session.retained += [encoder, model]
        scope = training.scope_trainee(encoder)
        with taking_gradients(scope):
            dry_run_training(session, scope, training.facts, training.validation, training.classifier_schedule)
        del scope
        trainee = training.counterfactual_trainee(model)
        with taking_gradients(trainee):
            dry_run_training(session, trainee, training.facts, training.validation, training.schedule)
        del trainee
    with session.phase("evaluate"):
        probes = [(row, case, probe) for row, case in enumerate(session.batch) for probe in case.probes]
        predict(
            model,
            [
                Query(probe.prompt, probe.reference, probe.language, row, context=shown(case.edit))
                for row, case, probe in probes
            ],
        )
    return Router(encoder, training.measure, model, NEVER, {}, ())


def _counterfactual(name: str, session: DryRunSession) -> Backbone:
    registered = name in get_plugins().models
    with session.paused():
        skeleton = find_skeleton(make_loader(name) if registered else make_loader("hf", path=name))
    if skeleton is None or skeleton.missing:
        raise RequestError(f"the counterfactual model {name!r} isn't on this machine")
    return session.load(skeleton, torch.float32)
