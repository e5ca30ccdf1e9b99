"""IKE: in-context knowledge editing (Zheng et al., 2023, https://arxiv.org/abs/2305.12740)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch

from xkeb.editing.changes import ContextChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.types import Case, Edit, Scorer, Sight
from xkeb.utils.artifacts import cached_tensors
from xkeb.utils.hashing import digest_texts
from xkeb_plugins.methods.encoders import FakeEncoder, embed, encoder_key, local_files


@dataclass
class InContext(Editor):
    """IKE: the new fact, after demonstrations of facts that were copied, carried over to a rephrase, or left alone.

    The fact is shown as the edit states it, in the source language, whatever language is asked in.
    """

    in_paper: ClassVar[bool] = True
    released_as: ClassVar[str | None] = "ike-published"
    released_scorer: ClassVar[Scorer] = "in_context"
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING})

    k: int = 16
    """Demonstrations, the nearest first."""
    encoder: str = "all-MiniLM-L6-v2"
    """Sentence encoder that says what is near: one that is installed, a local folder, or a hub id."""

    _demonstrations: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    _index: torch.Tensor | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.k < 0:
            raise ValueError(f"k is the number of demonstrations, at least 0, not {self.k}")

    def needs_training(self) -> bool:
        return self.k > 0

    def reads(self) -> list[Path]:
        """An encoder of its own."""
        return local_files(self.encoder)

    @staticmethod
    def joiner(edit: Edit) -> str:
        """Between a question and its answer in the edit's language."""
        return get_plugins().languages.get(edit.language).separator

    def demonstrations(self, cases: Sequence[Case]) -> list[str]:
        """What training facts become; the nearest are shown."""
        return demonstrations(cases)

    def query(self, edit: Edit) -> str:
        """What demonstrations are compared with."""
        return f"{fact(edit.prompt, edit.target, edit.language)}{edit.prompt}\n\n"

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Embeds the training facts; kept under the hash of their text, for every backbone alike."""
        self._demonstrations = self.demonstrations(cases)
        key = {"encoder": encoder_key(self.encoder), "texts": digest_texts(self._demonstrations)}
        self._index = cached_tensors("ike", key, lambda: {"index": self._embed(self._demonstrations, backbone)})[
            "index"
        ]

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[ContextChange]:
        """One context for each edit; no weight is touched."""
        shown = self._nearest(edits, backbone)
        return [
            ContextChange(self.context(edit, text), self.before(edit)) for edit, text in zip(edits, shown, strict=True)
        ]

    def why_single(self) -> str | None:
        return "it shows one edit before every question, so a model has no second one"

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[ContextChange]:
        """Contexts without weights, for what they need: which demonstrations are near can't be known, so that some of all
        lengths are shown. The index stands on the host."""
        texts = sorted(self.demonstrations(session.training), key=len, reverse=True) if self.k else []
        if self.k:
            encoder = FakeEncoder(self.encoder)
            with session.phase("fit"):
                encoder.index(session, texts)
            encoder.embed([self.query(edit) for edit in edits])
        n = min(self.k, len(texts))
        shown = "".join(texts[(2 * i + 1) * len(texts) // (2 * n)] for i in range(n))
        return [ContextChange(self.context(edit, shown)) for edit in edits]

    def context(self, edit: Edit, shown: str) -> str | dict[str, str]:
        """What stands before a question."""
        return shown + fact(edit.prompt, edit.target, edit.language)

    def before(self, edit: Edit) -> str | dict[str, str] | None:
        """What stands before a question when the answer is given that locality compares with."""
        return None

    def _nearest(self, edits: Sequence[Edit], backbone: Backbone) -> list[str]:
        """For each edit its demonstrations, the most similar first."""
        return ["".join(self._demonstrations[i] for i in row) for row in self._ranked(edits, backbone)]

    def _ranked(self, edits: Sequence[Edit], backbone: Backbone) -> list[list[int]]:
        """For each edit the indices of the `k` nearest texts of the index, the most similar first."""
        if self.k == 0:
            return [[] for _ in edits]
        if self._index is None:
            raise RequestError("IKE takes its demonstrations from training facts: call fit() first, or set k=0.")
        queries = self._embed([self.query(edit) for edit in edits], backbone)
        best: list[list[int]] = (
            (queries @ self._index.T).topk(min(self.k, len(self._demonstrations)), dim=-1).indices.tolist()
        )
        return best

    def _embed(self, texts: Sequence[str], backbone: Backbone) -> torch.Tensor:
        """[n, d] unit vectors, on the host; the encoder runs where the backbone does."""
        return embed(self.encoder, texts, backbone.device)


def fact(question: str, answer: str, language: str) -> str:
    """A new fact, up to where the question that it is tried on begins."""
    return f"New Fact: {question}{get_plugins().languages.get(language).separator}{answer}\nPrompt: "


def demonstrations(cases: Sequence[Case]) -> list[str]:
    """Up to three for each training fact: asked again (copy), asked in other words (update), something else (retain)."""
    texts = []
    for case in cases:
        edit = case.edit
        joiner = get_plugins().languages.get(edit.language).separator
        pairs = [(edit.prompt, edit.target), *((probe.prompt, probe.reference) for probe in case.probes)]
        shown = fact(edit.prompt, edit.target, edit.language)
        texts += [f"{shown}{question}{joiner}{answer}\n\n" for question, answer in dict.fromkeys(pairs)]
    return texts
