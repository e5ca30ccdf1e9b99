"""SERAC (Mitchell et al., 2022, https://arxiv.org/abs/2206.06520): the model stays as it is, edits go into a memory.

A scope classifier g compares a question x' with the edits z in memory. The edited model answers

    f(x') = h(z*, x')  where g(z*, x') >= 0.5,  z* = argmax_z g(z, x'),  else the model's own answer,

where h is a small language model that is shown the edit before the question. Beforehand, over training facts z with
questions in and out of their scope, g learns binary cross-entropy, ``-log g(z, x_in) - log(1 - g(z, x_out))``, and h the
negative log-likelihood ``-log h(y_in | z, x_in)``. ``g(z, x) = exp(-|e(z) - e(x)|^2)``, e the embedding of an encoder.

We differ from EasyEdit, with which the published table was made, in three things. The first two are the paper's:

- A question is routed whole. EasyEdit mixes the two models' probabilities token by token, which ties h to the model's
  vocabulary; here h has a tokenizer of its own, and its answer is compared as text.
- g and h learn their own objectives. EasyEdit trains both through the mixture, by two of MEND's losses (cedit, cloc),
  and shows them the edit's question and the unrelated one, never the rephrase.
- z is compared by the edit's question. Neither released code does quite that. The paper's own (``build_cls_cache_inputs``
  in https://github.com/eric-mitchell/serac, algs/rep.py) gives the classifier the question and the answer, except for GPT
  models, whose inputs have the answer in them: there it cuts off what follows the last space, so that all but the last word
  of a longer answer stays. EasyEdit does the latter for LLaMA-type models, too.

Neither network depends on the edited model, so what is trained serves every backbone.

Of EasyEdit's settings, these have no meaning here: edit_lr and lr_lr (nothing is edited by gradients), cedit, cloc and cbase
(weights of the mixture's losses), dropout (0), a similarity scale (1) and several distance heads (1), cross-attention,
soft weighting, LoRA.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from pydantic import PositiveInt

from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor, known, options_of
from xkeb.editing.training import Schedule, hold_out
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.device import pick_device
from xkeb.models.spec import ModelSpec
from xkeb.registry.manager import get_plugins
from xkeb.types import Case, Edit, Property, Scorer, Sight
from xkeb_plugins.methods.encoders import local_files
from xkeb_plugins.methods.serac.artifact import Artifact
from xkeb_plugins.methods.serac.change import MemoryChange, Router
from xkeb_plugins.methods.serac.counterfactual import INSTALLABLE, load_counterfactual
from xkeb_plugins.methods.serac.dry_run import dry_run_networks
from xkeb_plugins.methods.serac.networks import NetworkTraining
from xkeb_plugins.methods.serac.scope import Measure, load_encoder
from xkeb_plugins.methods.tuned import tuned_settings

USUAL: dict[str, Any] = {
    "classifier": "distilbert-base-cased",
    "counterfactual": "JackFram/llama-160m",
    "lr": 1e-5,
    "steps": 10_000,
    "accumulate": 10,
    "validate_every": 100,
    "patience": 3000,
    "validation": 500,
    "freeze_embeddings": False,
}
"""EasyEdit's settings for LLaMA, which the paper used. It counts batches, ten of them to an optimizer step."""


@dataclass
class Serac(Editor):
    """SERAC: a memory of edits, a classifier that says which questions they concern, and a small model to answer those."""

    in_paper: ClassVar[bool] = True
    released_scorer: ClassVar[Scorer] = "growing_without_bos"
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING})
    requires: ClassVar[frozenset[Property]] = frozenset({"generality", "locality"})

    classifier: str | None = None
    """Encoder of the scope classifier: one that is installed, a local folder, or a hub id. None: the tuned one, or
    distilbert-base-cased."""
    counterfactual: str | None = None
    """Counterfactual model: a backbone's name, a local folder, or a hub id. None: the tuned one, or
    JackFram/llama-160m. It is the edited model itself only where you ask for that."""
    threshold: float = 0.5
    """Least similarity of a question in an edit's scope."""
    cos: bool = False
    """Compare embeddings by cosine, not by Euclidean distance."""
    square: bool = True
    """Square the Euclidean distance."""
    bound_embeds: bool = False
    """Pass embeddings through tanh first."""
    lr: float | None = None
    """Of Adam. None: the tuned one, or 1e-5."""
    classifier_lr: float | None = None
    """For the classifier. None: `lr` where that is given, else the tuned one."""
    steps: PositiveInt | None = None
    """Most optimizer steps of each network. None: the tuned number, or 10,000."""
    classifier_steps: PositiveInt | None = None
    """For the classifier. None: `steps` where that is given, else the tuned number."""
    batch_size: int = 10
    """Training facts that are passed together; to the classifier, each is out of the others' scope."""
    accumulate: int | None = None
    """Batches of one optimizer step. None: the tuned number, or 10."""
    validate_every: int | None = None
    """Optimiser steps from one validation to the next. None: the tuned number, or 100."""
    patience: int | None = None
    """Optimiser steps without a lower validation loss after which training stops. None: the tuned number, or 3000."""
    grad_clip: float = 100.0
    """Largest norm of a step's gradient."""
    validation: int | None = None
    """Training facts held out to decide when to stop, at most a tenth. None: the tuned number, or 500."""
    freeze_embeddings: bool | None = None
    """Leave token embeddings, and the counterfactual model's head, as they are. None: the tuned choice, or no."""
    seed: int = 0
    """Of the order of the facts."""

    _router: Router | None = field(default=None, init=False, repr=False, compare=False)
    _counterfactual_given: bool = field(default=False, init=False, repr=False, compare=False)
    """Whether `counterfactual` was asked for, and not filled in."""

    def __post_init__(self) -> None:
        self._counterfactual_given = self.counterfactual is not None
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold is a similarity, above 0 and at most 1, not {self.threshold}")
        for name in ("batch_size", "accumulate", "validation"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")

    def configure(self, spec: ModelSpec) -> Self:
        usual = USUAL | tuned_settings("serac", spec)
        for each in ("lr", "steps"):  # one that is given goes for both networks, unless the classifier's own is
            value = getattr(self, each)
            usual[f"classifier_{each}"] = value or usual.get(f"classifier_{each}", usual[each])
        return self.filled(usual)

    def reads(self) -> list[Path]:
        """Networks of its own to begin with."""
        return [path for name in (self.classifier, self.counterfactual) if name for path in local_files(name)]

    def needs_training(self) -> bool:
        """Whether it needs training facts: always."""
        return True

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Trains both networks, or takes them from the cache."""
        me = self.configure(backbone.spec)
        training = me.networks(cases)
        encoder = load_encoder(training.classifier, backbone.device)
        model = load_counterfactual(training.counterfactual, backbone.device).asked_in(backbone.prompt)
        if model.sha256 == backbone.sha256 and not me._counterfactual_given:
            raise RequestError(
                f"SERAC's counterfactual model would be {training.counterfactual!r}, which is the edited model itself: name "
                f"another one, as in --method-args serac.counterfactual={_another(training.counterfactual)}."
            )
        artifacts = training.learn_scope(encoder), training.learn_counterfactual(model)
        self._router = Router(encoder, me.measure, model, me.threshold, options_of(me), artifacts)

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[MemoryChange]:
        """A memory of one fact for each edit."""
        return [self.edit_together(backbone, [edit]) for edit in edits]

    def edit_together(self, backbone: Backbone, edits: Sequence[Edit]) -> MemoryChange:
        """One memory of all the edits."""
        if self._router is None:
            raise RequestError("SERAC answers with networks that it trains: call fit() first.")
        for edit in edits:
            get_plugins().languages.get(edit.language)  # an unknown one is refused now, not when a question is asked
        return MemoryChange(edits, self._router)

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[MemoryChange]:
        """Memories that leave every question to the backbone. What the counterfactual model needs to answer all of them is
        counted here."""
        me = self.configure(session.backbone.spec)
        router = dry_run_networks(session, me.networks(session.training))
        return [MemoryChange([edit], router) for edit in edits]

    def networks(self, cases: Sequence[Case]) -> NetworkTraining:
        """How both networks are trained on some facts; of a configured editor."""
        facts, validation = hold_out(cases, known(self.validation))
        size = self.batch_size * known(self.accumulate)

        def schedule(steps: int) -> Schedule:
            return Schedule(steps, size, known(self.validate_every), known(self.patience), self.grad_clip, self.seed)

        return NetworkTraining(
            classifier=known(self.classifier),
            counterfactual=known(self.counterfactual),
            measure=self.measure,
            facts=facts,
            validation=validation,
            batch_size=self.batch_size,
            freeze_embeddings=known(self.freeze_embeddings),
            classifier_lr=known(self.classifier_lr),
            lr=known(self.lr),
            classifier_schedule=schedule(known(self.classifier_steps)),
            schedule=schedule(known(self.steps)),
        )

    @classmethod
    def restore(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> MemoryChange:
        """A saved change.

        Raises:
            RequestError: the trained networks that it needs are not in the cache, or others stand there.
        """
        record = data["router"]
        for artifact in record["artifacts"]:
            Artifact.recorded(artifact)
        router = _restored_router(json.dumps(record, sort_keys=True))
        return MemoryChange([Edit(**fact) for fact in data["facts"]], router)

    @property
    def measure(self) -> Measure:
        return Measure(self.cos, self.square, self.bound_embeds)


def _another(name: str) -> str:
    """A counterfactual model that pip installs, and not this one."""
    return next(other for other in INSTALLABLE if other != name)


@functools.lru_cache(maxsize=1)  # many saved changes share one
def _restored_router(record: str) -> Router:
    """The router of a saved change, on the CPU until it is needed elsewhere."""
    data = json.loads(record)
    me = Serac(**data["options"])
    encoder = load_encoder(known(me.classifier), pick_device("cpu"))
    model = load_counterfactual(known(me.counterfactual), pick_device("cpu")).asked_in(data["prompt"])
    scope, counterfactual = (Artifact.recorded(artifact) for artifact in data["artifacts"])
    scope.load_into(encoder.model, encoder.sha256)
    counterfactual.load_into(model.model, model.sha256)
    return Router(encoder, me.measure, model, me.threshold, data["options"], (scope, counterfactual))
