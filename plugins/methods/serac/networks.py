"""The training of both networks, on the same facts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xkeb.editing.training import Schedule
from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.serac.artifact import Artifact, digest_facts, train_artifact
from xkeb_plugins.methods.serac.counterfactual import CounterfactualTrainee
from xkeb_plugins.methods.serac.scope import Encoder, Measure, ScopeTrainee

VERSION = 2
"""Of the training: artifacts of another are not used. Since 2, a separator that is a token of its own is learnt."""


@dataclass(frozen=True)
class NetworkTraining:
    """What is trained, on what, and how."""

    classifier: str
    counterfactual: str
    measure: Measure
    facts: Sequence[Case]
    validation: Sequence[Case]
    """Facts to validate on."""
    batch_size: int
    freeze_embeddings: bool
    classifier_lr: float
    lr: float
    classifier_schedule: Schedule
    schedule: Schedule

    def scope_trainee(self, encoder: Encoder) -> ScopeTrainee:
        return ScopeTrainee(
            encoder, self.measure, self.classifier_lr, self.batch_size, freeze_embeddings=self.freeze_embeddings
        )

    def counterfactual_trainee(self, model: Backbone) -> CounterfactualTrainee:
        return CounterfactualTrainee(model, self.lr, self.batch_size, freeze_embeddings=self.freeze_embeddings)

    def learn_scope(self, encoder: Encoder) -> Artifact:
        """Trains the scope classifier, or takes it from the cache; `encoder` has the trained values then."""
        key = {
            **self._key(encoder.sha256),
            "lr": self.classifier_lr,
            "measure": dataclasses.asdict(self.measure),
        }
        trainee, schedule = self.scope_trainee(encoder), self.classifier_schedule
        return train_artifact("serac-scope", key, trainee, self.facts, self.validation, schedule, encoder.model.device)

    def learn_counterfactual(self, model: Backbone) -> Artifact:
        """Trains the counterfactual model, or takes it from the cache."""
        key = {**self._key(model.sha256), "lr": self.lr, "prompt": model.prompt_key}
        trainee = self.counterfactual_trainee(model)
        return train_artifact(
            "serac-counterfactual", key, trainee, self.facts, self.validation, self.schedule, model.device
        )

    def _key(self, pretrained: str) -> dict[str, Any]:
        """What both networks depend on, the schedule aside. Not the edited model: neither of them ever sees it."""
        return {
            "method": "serac",
            "version": VERSION,
            "pretrained": pretrained,
            "facts": digest_facts(self.facts),
            "held": digest_facts(self.validation),
            "batch_size": self.batch_size,
            "freeze_embeddings": self.freeze_embeddings,
        }
