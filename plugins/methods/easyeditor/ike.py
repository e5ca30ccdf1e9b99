"""IKE by EasyEdit's own code."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from xkeb.editing.changes import ContextChange
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit, Property, Scorer, Sight
from xkeb.utils.artifacts import cached_tensors
from xkeb.utils.hashing import digest_texts
from xkeb_plugins.methods.easyeditor.bridge import Bridge
from xkeb_plugins.methods.easyeditor.package import having
from xkeb_plugins.methods.easyeditor.requests import request
from xkeb_plugins.methods.easyeditor.sandbox import sandbox
from xkeb_plugins.methods.encoders import encoder, encoder_key, local_files

Fact = dict[str, str]
"""A training fact with its keys."""


@dataclass
class EasyEditorInContext(Bridge):
    """IKE by EasyEdit's own code; needs `pip install --no-deps easyeditor==0.0.1.dev0 einops`, or a checkout (`path`).

    It joins a question and its answer by a space in every language. That of 2023 shows the new fact itself as the last
    demonstration.
    """

    called: ClassVar[str] = "easyeditor-ike"
    modules: ClassVar[tuple[str, ...]] = ("models.ike.ike_main", "models.ike.util")
    released_scorer: ClassVar[Scorer] = "in_context"
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING})
    requires: ClassVar[frozenset[Property]] = frozenset({"generality", "locality"})

    k: int = 16
    """Demonstrations, the nearest first."""
    encoder: str = "all-MiniLM-L6-v2"
    """Sentence encoder that says what is near: one that is installed, a local folder, or a hub id."""

    _facts: list[Fact] | None = field(default=None, init=False, repr=False, compare=False)
    _encoder: _Encoder | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ValueError(f"k is the number of demonstrations, at least 1, not {self.k}")

    def reads(self) -> list[Path]:
        """The code of a checkout, and an encoder of its own."""
        return [*super().reads(), *local_files(self.encoder)]

    def needs_training(self) -> bool:
        """Always: demonstrations are training facts."""
        return True

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Embeds the training facts that have a rephrase and an unrelated question: its code knows no others."""
        self._facts = [fact for case in cases if (fact := _fact(case))]
        self._encoder = _Encoder(self.encoder)
        with tempfile.TemporaryDirectory() as folder:
            self._write_index(folder)

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[ContextChange]:
        """One context for each edit; no weight is touched."""
        facts = [request(edit) for edit in edits]
        if self._facts is None:
            raise RequestError("IKE takes its demonstrations from training facts: call fit() first.")
        main = self.its("models.ike.ike_main")
        with (
            tempfile.TemporaryDirectory() as folder,
            sandbox(backbone),
            having(main, SentenceTransformer=lambda name: self._encoder),
        ):
            self._write_index(folder)
            return [
                _context(
                    one,
                    main.apply_ike_to_model(None, None, one, self._hyper_parameters(folder), train_ds=self._facts),
                )
                for one in facts
            ]

    def why_single(self) -> str | None:
        return "it shows one edit before every question, so a model has no second one"

    def _write_index(self, folder: str) -> None:
        """The file in which its code looks for the facts and their embeddings."""
        self.its("models.ike.util").encode_ike_facts(self._encoder, self._facts, self._hyper_parameters(folder))

    def _hyper_parameters(self, folder: str) -> Any:
        return self.its("models.ike.ike_hparams").IKEHyperParams(
            k=self.k,
            results_dir=folder,
            device="cpu" if self.code.is_checkout else 0,
            alg_name="IKE",
            model_name="",
            sentence_model_name=self.encoder,
        )


class _Encoder:
    """Looks like a ``SentenceTransformer``. Loaded once a process; embeds a list of facts once and for all."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.embeddings: dict[str, np.ndarray[Any, Any]] = {}

    def to(self, device: Any) -> _Encoder:
        """It stays where it is."""
        return self

    def encode(self, sentences: str | Sequence[str], show_progress_bar: bool = False) -> np.ndarray[Any, Any]:
        """[n, d] for n sentences, [d] for a lone one; float32, of any length."""
        if isinstance(sentences, str):
            return self._embed([sentences])[0]
        texts = digest_texts(sentences)
        if texts not in self.embeddings:
            key = {"encoder": encoder_key(self.name), "texts": texts}
            vectors = cached_tensors(
                "easyeditor-ike", key, lambda: {"vectors": torch.from_numpy(self._embed(sentences))}
            )
            self.embeddings[texts] = vectors["vectors"].numpy()
        return self.embeddings[texts]

    def _embed(self, sentences: Sequence[str]) -> np.ndarray[Any, Any]:
        return encoder(self.name, torch.device("cpu")).encode(
            list(sentences), convert_to_numpy=True, show_progress_bar=False
        )


def _fact(case: Case) -> Fact | None:
    """A training case as its data sets have it; None where it lacks a part."""
    probes = {probe.property: probe for probe in case.probes}
    if not {"generality", "locality"} <= probes.keys():
        return None
    return {
        "prompt": case.edit.prompt,
        "target_new": case.edit.target,
        "rephrase_prompt": probes["generality"].prompt,
        "locality_prompt": probes["locality"].prompt,
        "locality_ground_truth": probes["locality"].reference,
    }


def _context(fact: Fact, demonstrations: Sequence[str]) -> ContextChange:
    """Demonstrations and the new fact, as its evaluation puts them before a question."""
    shown = "".join(demonstrations)
    return ContextChange(f"{shown}New Fact: {fact['prompt']} {fact['target_new']}\nPrompt: ")
