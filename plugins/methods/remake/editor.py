"""After ReMaKE, Retrieval-augmented Multilingual Knowledge Editing (Wang et al., 2024, https://arxiv.org/abs/2312.13040): the
model stays as it is, edits go into a memory, and a question in any language is answered with one of them in context.

A classifier that was trained on questions in several languages is asked, for each edit of the memory, whether it and the
question ask the same. The likeliest edit that does, if any, stands before the question, after 16 training facts, each in the
edit's language and in that of the question: those whose question is most similar to the edit's, the nearest first, as in the
released code (https://github.com/weixuan-wang123/ReMaKE, commit 975a9e9).

It is no ReMaKE: there, the classifier is a multilingual encoder, XLM-R, that was trained to read both questions together. Here
it compares the backbone's own states of each, as `xmem`'s gate does, since no such encoder comes with the suite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from xkeb.editing.changes import ContextChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.encoders import FakeEncoder, local_files
from xkeb_plugins.methods.memory.change import Entry, MemoryChange
from xkeb_plugins.methods.memory.dry_run import dry_run_gate
from xkeb_plugins.methods.memory.editor import GatedMemory
from xkeb_plugins.methods.memory.facts import Question, languages_of, parallel_facts
from xkeb_plugins.methods.remake.classifier import Classifier, ClassifierTraining
from xkeb_plugins.methods.remake.demonstrations import Demonstrations, context


@dataclass
class MultilingualRetrieval(GatedMemory):
    """After ReMaKE: a memory, a classifier that reads the model's own states, and facts in two languages in context."""

    name: ClassVar[str] = "remake"

    demonstrations: int = 16
    """Parallel facts that are shown, the nearest first; 0 shows the edit alone."""
    encoder: str = "all-MiniLM-L6-v2"
    """Sentence encoder that says which facts are near: one that is installed, a local folder, or a hub id."""
    threshold: float = 0.5
    """Least probability of a question in scope."""

    _gate: Classifier | None = field(default=None, init=False, repr=False, compare=False)
    _shown: Demonstrations | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.demonstrations < 0:
            raise ValueError(f"demonstrations is a number of facts, at least 0, not {self.demonstrations}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold is a probability, between 0 and 1, not {self.threshold}")

    def reads(self) -> list[Path]:
        """An encoder of its own."""
        return local_files(self.encoder)

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Trains the classifier and makes the index of questions in the facts' own language, or takes them from the cache.

        Raises:
            RequestError: there are too few facts in more than one language.
        """
        me = self.configure(backbone.spec)
        facts = parallel_facts(cases, "remake")
        self._gate = me.training(facts).learn(backbone, me.threshold)
        self._shown = Demonstrations(facts, me.demonstrations, me.encoder)
        if me.demonstrations:
            for language in sorted({case.edit.language for case in facts}):
                self._shown.index(language, backbone.device)

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[MemoryChange]:
        """A memory of one edit for each."""
        return [MemoryChange("remake", [entry], self._gate) for entry in self._entries(backbone, edits)]

    def edit_together(self, backbone: Backbone, edits: Sequence[Edit]) -> MemoryChange:
        """One memory of all the edits."""
        return MemoryChange("remake", self._entries(backbone, edits), self._gate)

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[ContextChange]:
        """Contexts for all questions, as if every one were in scope: the most that can be needed. Which demonstrations are near
        can't be known, so that some of all lengths are shown."""
        me = self.configure(session.backbone.spec)
        facts = sorted(parallel_facts(session.training, "remake"), key=lambda case: -sum(case.text_lengths[:1]))
        dry_run_gate(session, me.training(facts), edits)
        n = min(me.demonstrations, len(facts))
        if n:
            encoder = FakeEncoder(me.encoder)
            with session.phase("fit"):
                encoder.index(session, [case.edit.prompt for case in facts])
            encoder.embed([edit.prompt for edit in edits])
        shown = [facts[(2 * i + 1) * len(facts) // (2 * n)] for i in range(n)]
        languages = Demonstrations(facts, n, me.encoder).languages
        return [
            ContextChange(
                {
                    code: context(
                        edit, code, [case for case in shown if {code, edit.language} <= set(languages_of(case))]
                    )
                    for code in languages
                }
            )
            for edit in edits
        ]

    def training(self, facts: Sequence[Case]) -> ClassifierTraining:
        """How the classifier is trained on some facts; of a configured editor."""
        return ClassifierTraining(**self.map_training(facts))

    @classmethod
    def restore(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> MemoryChange:
        """A saved change; it needs nothing beside itself."""
        return MemoryChange.from_saved("remake", Classifier.recorded, tensors, data)

    def _entries(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Entry]:
        """Edits as entries of a memory, where they are in languages that can be answered."""
        if self._shown is None or self._gate is None:
            raise RequestError("remake answers with training facts: call fit() first.")
        self.check_languages(edits, self._shown.languages)
        if not edits:
            return []
        contexts = self._shown.contexts(edits, backbone.device)
        with torch.no_grad():
            vectors = self._gate.embed(backbone, [Question(edit.language, edit.prompt) for edit in edits])
        return [Entry.of(*parts) for parts in zip(edits, contexts, vectors, strict=True)]
