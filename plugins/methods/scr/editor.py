"""SCR, Selective Contextual Reasoning (He et al., 2025, https://arxiv.org/abs/2503.05212): the model stays as it is, edits go
into a memory.

A sentence encoder retrieves the nearest edits of the memory. The model itself is asked whether one of them answers the
question. Where it says so, it answers with that edit in context; else it answers the bare question, so that nothing changes.

We differ from the released code (https://github.com/ECNU-Text-Computing/Knowledge-Updating, commit 836ff52) in four things:

- There, an instruction-tuned model writes down the fact that answers the question, or that none does. A small base model can't,
  so here it says yes or no to each retrieved fact, and the odds of the two words are compared with a cut-off that was chosen on
  training facts.
- There, a fact is a sentence, which another model wrote. Here it is the edit's question and answer.
- There, the encoder is Contriever. Here it is the one that IKE has.
- The words around facts and questions are our own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import PositiveInt

from xkeb.editing.changes import ContextChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit, Sight
from xkeb.utils.artifacts import cached_tensors
from xkeb_plugins.methods.encoders import embed, encoder_key, local_files
from xkeb_plugins.methods.memory.change import Entry, MemoryChange
from xkeb_plugins.methods.memory.facts import digest_facts, really_unrelated, said
from xkeb_plugins.methods.scr.confirm import TASK, WORDS, confirming_style
from xkeb_plugins.methods.scr.cutoff import CutOffs, calibrated
from xkeb_plugins.methods.scr.dry_run import dry_run_cutoffs, dry_run_gate
from xkeb_plugins.methods.scr.gate import ConfirmingGate

FEWEST = 2
"""Training facts: a question about one must meet another."""


@dataclass
class SelectiveContextualReasoning(Editor):
    """SCR: a memory of edits, and the model itself says which of them a question is about; that one it is shown."""

    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.PARALLEL_TRAINING})

    k: PositiveInt = 3
    """Edits that are retrieved, the nearest of the memory; the model is asked about each."""
    encoder: str = "all-MiniLM-L6-v2"
    """Sentence encoder that says what is near: one that is installed, a local folder, or a hub id."""
    threshold: float | None = None
    """Least probability of yes, of the two words yes and no, for a fact to be confirmed. None: the cut-offs that tell best,
    among training facts, which questions are about a fact. With a number, no training facts are needed."""
    validation: int = 50
    """Training facts that the cut-offs are chosen on, the last so many. None are learnt from."""
    seed: int = 0
    """Of the facts that questions about others are tried on."""

    _gate: ConfirmingGate | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ValueError(f"threshold is a probability, between 0 and 1, not {self.threshold}")
        if self.validation < FEWEST:
            raise ValueError(f"validation is a number of facts, at least {FEWEST}, not {self.validation}")

    def reads(self) -> list[Path]:
        """An encoder of its own."""
        return local_files(self.encoder)

    def needs_training(self) -> bool:
        return self.threshold is None

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Chooses the cut-offs, or takes them from the cache.

        Raises:
            RequestError: there are too few facts.
        """
        facts = self._tried(cases)
        style = confirming_style(backbone)
        key = {
            "backbone": backbone.sha256,
            "dtype": str(backbone.dtype),
            "style": backbone.asked_in(style).prompt_key,
            "words": [TASK, *WORDS],
            "encoder": encoder_key(self.encoder),
            "k": self.k,
            "seed": self.seed,
            "facts": digest_facts(facts),
            "version": 1,
        }
        kept = cached_tensors(
            "scr",
            key,
            lambda: {"cutoffs": calibrated(backbone, style, self.encoder, facts, self.k, self.seed).tensor()},
        )
        self._gate = self._make_gate(backbone, CutOffs.of_tensor(kept["cutoffs"]))

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[MemoryChange]:
        """A memory of one edit for each."""
        gate = self._gate_of(backbone)
        return [MemoryChange("scr", [entry], gate) for entry in self._entries(backbone, edits)]

    def edit_together(self, backbone: Backbone, edits: Sequence[Edit]) -> MemoryChange:
        """One memory of all the edits."""
        return MemoryChange("scr", self._entries(backbone, edits), self._gate_of(backbone))

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[ContextChange]:
        """Contexts for all questions, as if every fact were confirmed: the most that can be needed."""
        if self.threshold is None:
            dry_run_cutoffs(session, self.encoder, self._tried(session.training), self.k)
        dry_run_gate(session, self.encoder, edits)
        return [ContextChange(shown(edit)) for edit in edits]

    @classmethod
    def restore(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> MemoryChange:
        """A saved change. Where it has more than k edits, it needs the encoder that it was made with."""
        return MemoryChange.from_saved("scr", ConfirmingGate.recorded, tensors, data)

    def _tried(self, cases: Sequence[Case]) -> Sequence[Case]:
        if len(cases) < FEWEST:
            raise RequestError(
                f"SCR chooses its cut-offs on training facts: it needs at least {FEWEST}, not {len(cases)}."
            )
        return really_unrelated(cases)[-self.validation :]

    def _gate_of(self, backbone: Backbone) -> ConfirmingGate:
        if self.threshold is not None:
            odds = math.log(self.threshold / (1 - self.threshold))
            return self._make_gate(backbone, CutOffs((odds, odds), (odds, odds)))
        if self._gate is None:
            raise RequestError("SCR chooses its cut-offs on training facts: call fit() first, or set a threshold.")
        return self._gate

    def _make_gate(self, backbone: Backbone, cutoffs: CutOffs) -> ConfirmingGate:
        return ConfirmingGate(self.encoder, self.k, confirming_style(backbone), cutoffs, backbone.sha256)

    def _entries(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Entry]:
        vectors = embed(self.encoder, [said(edit) for edit in edits], backbone.device)
        return [Entry.of(edit, shown(edit), vector) for edit, vector in zip(edits, vectors, strict=True)]


def shown(edit: Edit) -> str:
    """What stands before a question that an edit answers, in whatever language that is asked."""
    return f"Answer the question by the fact.\n\nFact: {said(edit)}\nQuestion: "
