"""What an edit becomes: entries of a memory, and the gate that says which question is about which of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from xkeb.editing.serialization import save_change
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Delegate, Intervention
from xkeb.types import Edit, Query
from xkeb_plugins.methods.xmem.facts import Question
from xkeb_plugins.methods.xmem.gate import Gate

KIND = "method:xmem"
FIELDS = ("prompt", "target", "language", "subject")


@dataclass(frozen=True)
class Entry:
    """One edit in a memory."""

    fact: Edit
    """What it says in its own language."""
    contexts: Mapping[str, str]
    """What stands before a question about it, by the language of the question."""
    vector: torch.Tensor | None
    """[width] its question as the gate sees it; None without a gate."""

    @classmethod
    def of(cls, edit: Edit, contexts: Mapping[str, str], vector: torch.Tensor | None) -> Self:
        """Without any field of the edit that is in another language."""
        fact = dataclasses.replace(edit, translations={}, questions={}, aliases=())
        return cls(fact, dict(contexts), vector)

    def context(self, language: str) -> str:
        if language not in self.contexts:
            raise RequestError(
                f"The memory answers questions in {', '.join(sorted(self.contexts))}, not in {language!r}: no training "
                f"fact shows how an answer crosses."
            )
        return self.contexts[language]


class MemoryChange:
    """Edits in a memory; no weight is touched. Questions about one of them are answered with its context."""

    def __init__(self, entries: Sequence[Entry], gate: Gate | None, threshold: float | None = None) -> None:
        """
        Args:
            entries: at least one.
            gate: None where every question is about the one edit there is.
            threshold: the cut-off, instead of the gate's own.

        Raises:
            RequestError: several edits, and no gate that tells them apart.
        """
        if gate is None and len(entries) != 1:
            raise RequestError("A memory of several edits needs the gate: xmem.scope=all holds one edit only.")
        self.entries, self.gate, self.threshold = tuple(entries), gate, threshold
        vectors = [entry.vector for entry in entries if entry.vector is not None]
        self._vectors = torch.stack(vectors) if gate is not None else None  # (n, width)
        self._cutoffs = functools.cache(self._cutoffs_in)

    @classmethod
    def joined(cls, changes: Sequence[MemoryChange]) -> MemoryChange:
        """One memory of all the edits of some, which were made with one gate.

        Raises:
            RequestError: they were not.
        """
        first = changes[0]
        if any(change.signature != first.signature for change in changes):
            raise RequestError("Only memories that were made with one gate can be joined.")
        return cls([entry for change in changes for entry in change.entries], first.gate, first.threshold)

    def followed_by(self, later: MemoryChange) -> MemoryChange:
        """One memory of all the edits; of two that answer the same question, the later one."""
        said = {(fact.language, fact.prompt) for fact in later.facts}
        kept = [entry for entry in self.entries if (entry.fact.language, entry.fact.prompt) not in said]
        return MemoryChange([*kept, *later.entries], later.gate, later.threshold)

    @property
    def facts(self) -> tuple[Edit, ...]:
        return tuple(entry.fact for entry in self.entries)

    @property
    def signature(self) -> tuple[str | None, float | None]:
        """Of the gate: memories of equal ones can be asked together."""
        return (self.gate.sha256 if self.gate else None, self.threshold)

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        with _MemoryIntervention(backbone, [self]).installed(backbone):
            yield

    @classmethod
    def batched(cls, backbone: Backbone, changes: Sequence[MemoryChange]) -> Intervention | None:
        """None where the changes were made with different gates."""
        if any(change.signature != changes[0].signature for change in changes):
            return None
        return _MemoryIntervention(backbone, changes)

    def save(self, folder: Path | str) -> None:
        """Writes the edits with their contexts, and the gate: nothing else is needed to load it."""
        facts = [{name: getattr(entry.fact, name) for name in FIELDS} for entry in self.entries]
        contexts = [dict(entry.contexts) for entry in self.entries]
        data: dict[str, Any] = {"facts": facts, "contexts": contexts, "threshold": self.threshold}
        tensors: dict[str, torch.Tensor] = {}
        if self.gate is not None and self._vectors is not None:
            data["gate"] = self.gate.record()
            tensors = {**self.gate.tensors(), "vectors": self._vectors}
        save_change(folder, KIND, tensors, data)

    @classmethod
    def from_saved(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> Self:
        gate = Gate.recorded(tensors, data["gate"]) if "gate" in data else None
        vectors = list(tensors["vectors"]) if gate else [None] * len(data["facts"])
        entries = [
            Entry(Edit(**fact), contexts, vector)
            for fact, contexts, vector in zip(data["facts"], data["contexts"], vectors, strict=True)
        ]
        return cls(entries, gate, data["threshold"])

    def asked_about(self, question: Question, vector: torch.Tensor | None) -> Entry | None:
        """The edit that a question is about: the one whose cosine is highest above its cut-off; None if all are below.

        Args:
            vector: [width] the question as the gate sees it.
        """
        if self.gate is None or vector is None or self._vectors is None:
            return self.entries[0]
        cosines = self._vectors.to(vector) @ vector  # (n,)
        above = cosines - self._cutoffs(question.language).to(cosines)
        best = int(above.argmax())
        return self.entries[best] if float(above[best]) >= 0 else None

    def _cutoffs_in(self, language: str) -> torch.Tensor:
        """[n] the cut-off of each edit for a question in that language."""
        n = len(self.entries)
        if self.gate is None or self.threshold is not None:
            return torch.full((n,), self.threshold or 0.0)
        of = {same: self.gate.cutoffs.of(n, same=same) for same in (True, False)}
        return torch.tensor([of[entry.fact.language == language] for entry in self.entries])


class _MemoryIntervention(Intervention):
    def __init__(self, backbone: Backbone, changes: Sequence[MemoryChange]) -> None:
        super().__init__()
        self.backbone, self.changes = backbone, changes

    def delegates(self, queries: Sequence[Query]) -> Sequence[Delegate | None]:
        """The backbone itself, with the context of the edit that a question is about; None where it is about none."""
        questions = [Question(query.language, query.prompt) for query in queries]
        gate = self.changes[0].gate
        vectors: dict[Question, torch.Tensor] = {}
        if gate is not None and queries:
            different = list(dict.fromkeys(questions))
            vectors = dict(zip(different, gate.embed(self.backbone, different), strict=True))
        found = [
            self.changes[query.row].asked_about(question, vectors.get(question))
            for query, question in zip(queries, questions, strict=True)
        ]
        return [
            Delegate(self.backbone, entry.context(query.language)) if entry else None
            for entry, query in zip(found, queries, strict=True)
        ]
