"""What training leaves behind: the parameters that it changed, and the file they are kept in."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file
from torch import nn

from xkeb.editing.training import Schedule, Trainee, train, whole_key
from xkeb.errors import RequestError
from xkeb.models.memory import check_memory
from xkeb.types import Case
from xkeb.utils.artifacts import artifact_path
from xkeb.utils.hashing import digest, digest_file
from xkeb.utils.paths import cache_root

BYTES_IN_TRAINING = 16
"""Of a float32 parameter that is loaded: its gradient, Adam's two moments, and the best value so far."""


def trained_parameters(model: nn.Module, frozen: Iterable[nn.Module]) -> nn.ParameterDict:
    """The parameters of `model` that training changes, shared with it: all but those of the modules in `frozen`.

    By name, with slashes: torch allows no dots in the names of a module's own parameters.
    """
    frozen_ids = {id(parameter) for module in frozen for parameter in module.parameters()}
    return nn.ParameterDict(
        {
            name.replace(".", "/"): parameter
            for name, parameter in model.named_parameters()
            if id(parameter) not in frozen_ids
        }
    )


@dataclass(frozen=True)
class Artifact:
    """Trained parameters on disk."""

    what: str
    """In a few words."""
    path: Path
    pretrained: str
    """Hash of the network that training began with, which the file holds only in part."""

    @functools.cached_property
    def sha256(self) -> str:
        if not self.path.is_file():
            raise RequestError(f"The trained {self.what} is no longer in the cache: expected {self.path}.")
        return digest_file(self.path)

    def record(self) -> dict[str, str]:
        """What a saved change says of it."""
        file = f"{self.path.parent.name}/{self.path.name}"  # below the cache, wherever that is
        return {"what": self.what, "file": file, "pretrained": self.pretrained, "sha256": self.sha256}

    @classmethod
    def recorded(cls, record: Mapping[str, str]) -> Self:
        """The artifact that a saved change needs.

        Raises:
            RequestError: it is not in the cache, or another one stands there.
        """
        artifact = cls(record["what"], cache_root() / record["file"], record["pretrained"])
        if not artifact.path.is_file():
            raise RequestError(
                f"The saved change needs a trained {artifact.what} that is not in the cache ({artifact.path}): "
                "fit the method again, with the same options and training facts."
            )
        if artifact.sha256 != record["sha256"]:
            raise RequestError(
                f"{artifact.path} is another {artifact.what} than the one that the saved change was made with."
            )
        return artifact

    @torch.no_grad()
    def load_into(self, model: nn.Module, pretrained: str) -> None:
        """Takes over the trained values.

        Args:
            pretrained: hash of `model` as it was loaded.
        """
        if pretrained != self.pretrained:
            raise RequestError(f"{self.path} was trained from another {self.what} than the one that is loaded.")
        for name, value in load_file(self.path).items():
            model.get_parameter(name.replace("/", ".")).copy_(value)


def train_artifact(
    kind: str,
    key: Mapping[str, Any],
    trainee: Trainee,
    facts: Sequence[Case],
    validation: Sequence[Case],
    schedule: Schedule,
    device: torch.device,
) -> Artifact:
    """Trains, or takes from the cache what was trained before; afterwards `trainee` has the trained values.

    Args:
        key: everything the outcome depends on, the schedule aside; its ``pretrained`` is the network's hash.
        validation: facts to validate on.
    """
    path = artifact_path(kind, whole_key(key, schedule))
    if not path.is_file():
        n_bytes = BYTES_IN_TRAINING * sum(parameter.numel() for parameter in trainee.module.parameters())
        hint = "choose a smaller one, or leave its embeddings as they are (freeze_embeddings=true)."
        check_memory(f"Training the {trainee.what}", n_bytes, device, hint)
    with taking_gradients(trainee):
        trainee.module.load_state_dict(train(kind, key, trainee, facts, validation, schedule))
    return Artifact(trainee.what, path, key["pretrained"])


@contextmanager
def taking_gradients(trainee: Trainee) -> Iterator[None]:
    """While it is trained, its parameters take gradients; afterwards these are gone."""
    parameters = list(trainee.module.parameters())
    for parameter in parameters:
        parameter.requires_grad_()
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None


def in_groups(cases: Sequence[Case], size: int) -> list[tuple[Sequence[Case], float]]:
    """Facts that are passed together, and the share that their mean loss has in that of all."""
    groups = [cases[start : start + size] for start in range(0, len(cases), size)]
    return [(group, len(group) / len(cases)) for group in groups]


def digest_facts(cases: Sequence[Case]) -> str:
    """sha256 of the texts and languages of training facts, whatever they are called."""
    return digest([[dataclasses.asdict(case.edit), *map(dataclasses.asdict, case.probes)] for case in cases])
