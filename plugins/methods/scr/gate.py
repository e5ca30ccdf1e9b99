"""The gate: the nearest edits of the memory by a sentence encoder, of which the model itself confirms one, or none."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import PromptStyle
from xkeb.utils.hashing import digest
from xkeb_plugins.methods.encoders import embed
from xkeb_plugins.methods.memory.change import MemoryChange
from xkeb_plugins.methods.memory.facts import Question, said
from xkeb_plugins.methods.scr.confirm import Pair, log_odds
from xkeb_plugins.methods.scr.cutoff import CutOffs


@dataclass(frozen=True)
class ConfirmingGate:
    """Of one backbone."""

    encoder: str
    """Sentence encoder of questions and edits."""
    k: int
    """Nearest edits that the model is asked about."""
    style: PromptStyle
    """How the model is asked for its word."""
    cutoffs: CutOffs
    backbone: str
    """sha256 of the model that they were chosen for."""

    def find(self, backbone: Backbone, asked: Sequence[tuple[MemoryChange, Question]]) -> list[int | None]:
        """For each question the place of the edit whose log-odds are furthest above its cut-off; None where all are below.

        Raises:
            RequestError: another model than the one that the cut-offs were chosen for.
        """
        if backbone.sha256 != self.backbone:
            raise RequestError(f"This memory was made for another model than {backbone.name!r}.")
        nearest = self._nearest(backbone, asked)
        pairs = [
            [Pair(said(memory.facts[place]), question.text) for place in places]
            for (memory, question), places in zip(asked, nearest, strict=True)
        ]
        different = list(dict.fromkeys(pair for own in pairs for pair in own))
        odds = dict(zip(different, log_odds(backbone, self.style, different), strict=True))
        found: list[int | None] = []
        for (memory, question), places, own in zip(asked, nearest, pairs, strict=True):
            above = {
                place: odds[pair] - self._cutoff(memory, place, question)
                for place, pair in zip(places, own, strict=True)
            }
            best = max(above, key=above.__getitem__)
            found.append(best if above[best] >= 0 else None)
        return found

    def _nearest(self, backbone: Backbone, asked: Sequence[tuple[MemoryChange, Question]]) -> list[list[int]]:
        """The places of the k nearest edits. A memory of no more needs no encoder."""
        large = dict.fromkeys(question.text for memory, question in asked if len(memory.entries) > self.k)
        vectors: Mapping[str, torch.Tensor] = {}
        if large:
            vectors = dict(zip(large, embed(self.encoder, list(large), backbone.device), strict=True))
        places: list[list[int]] = []
        for memory, question in asked:
            n = len(memory.entries)
            if n <= self.k:
                places.append(list(range(n)))
            else:
                places.append((memory.vectors @ vectors[question.text]).topk(self.k).indices.tolist())
        return places

    def _cutoff(self, memory: MemoryChange, place: int, question: Question) -> float:
        same = memory.facts[place].language == question.language
        return self.cutoffs.of(len(memory.entries), same=same)

    @functools.cached_property
    def sha256(self) -> str:
        """Of all that it is."""
        return digest(self.record())

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}

    def record(self) -> dict[str, Any]:
        """All of it, as data."""
        return {**asdict(self), "cutoffs": self.cutoffs.tensor().tolist()}

    @classmethod
    def recorded(cls, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]) -> Self:
        """The gate of a saved change."""
        return cls(**{**record, "cutoffs": CutOffs.of_tensor(torch.tensor(record["cutoffs"], dtype=torch.float64))})
