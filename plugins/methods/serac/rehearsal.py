"""SERAC without weights, for what it needs: both trainings, and answers of the counterfactual model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from xkeb.backbone import Backbone
from xkeb.errors import RequestError
from xkeb.plugins import plugins
from xkeb.predict import Query, predict
from xkeb.training import hold_out, rehearse
from xkeb.types import Edit
from xkeb_plugins.methods.encoders import without_weights
from xkeb_plugins.methods.serac.artifact import learning
from xkeb_plugins.methods.serac.change import MemoryChange, Router
from xkeb_plugins.methods.serac.counterfactual import CounterfactualTrainee, shown
from xkeb_plugins.methods.serac.scope import Encoder, ScopeTrainee

if TYPE_CHECKING:
    from xkeb.stage import Stage
    from xkeb_plugins.methods.serac.editor import Serac

NEVER = 2.0
"""More than any similarity."""


def rehearsed(me: Serac, stage: Stage, edits: Sequence[Edit]) -> list[MemoryChange]:
    """Memories that leave every question to the backbone. What the counterfactual model needs to answer all of them is
    counted here.

    Args:
        me: with every option settled.
    """
    assert me.classifier and me.validation and me.lr and me.steps and me.classifier_lr and me.classifier_steps
    assert me.freeze_embeddings is not None
    needed = set(me.needs)
    able = [case for case in stage.training if needed <= {probe.property for probe in case.probes}]
    facts, held = hold_out(able, me.validation)
    with stage.phase("fit"):
        encoder = Encoder(*without_weights(me.classifier), sha256="")
        model = _counterfactual(me, stage)
        stage.staying += [encoder, model]
        freeze = me.freeze_embeddings
        scope = ScopeTrainee(encoder, me.measure, me.classifier_lr, me.batch_size, freeze_embeddings=freeze)
        with learning(scope):
            rehearse(stage, scope, facts, held, me.schedule(me.classifier_steps))
        del scope
        trainee = CounterfactualTrainee(model, me.lr, me.batch_size, freeze_embeddings=freeze)
        with learning(trainee):
            rehearse(stage, trainee, facts, held, me.schedule(me.steps))
        del trainee
    with stage.phase("evaluate"):
        asked = [(case, probe) for case in stage.batch for probe in case.probes]
        predict(
            model,
            [Query(shown(case.edit) + probe.prompt, probe.reference, probe.language) for case, probe in asked],
        )
    router = Router(encoder, me.measure, model, NEVER, {}, ())
    return [MemoryChange([edit], router) for edit in edits]


def _counterfactual(me: Serac, stage: Stage) -> Backbone:
    assert me.counterfactual
    name = me.counterfactual
    known = name in plugins().models
    outline = (plugins().models.get(name)() if known else plugins().models.get("hf")(path=name)).outline()
    if outline is None or outline.missing:
        raise RequestError(f"the counterfactual model {name!r} isn't on this machine")
    return stage.load(outline, torch.float32)
