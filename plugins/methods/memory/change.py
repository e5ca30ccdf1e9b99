"""What an edit becomes: entries of a memory, and the gate that says which question is about which of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch

from xkeb.editing.serialization import save_change
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Delegate, Intervention
from xkeb.types import Edit, Query
from xkeb_plugins.methods.memory.facts import Question

FIELDS = ("prompt", "target", "language", "subject")


class Gate(Protocol):
    """Says which edit of a memory a question is about."""

    @property
    def sha256(self) -> str:
        """Of all that it is: memories with equal gates can be asked together."""
        ...

    def find(self, backbone: Backbone, asked: Sequence[tuple[MemoryChange, Question]]) -> list[int | None]:
        """For each question the place, in the memory that it is put to, of the edit that it is about; None where it is about
        none."""
        ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a saved change keeps of it, as tensors; none of them is called ``vectors``."""
        ...

    def record(self) -> dict[str, Any]:
        """The rest, as data."""
        ...


@dataclass(frozen=True)
class Entry:
    """One edit in a memory."""

    fact: Edit
    """What it says in its own language."""
    contexts: str | Mapping[str, str]
    """What stands before a question about it: one text, or one for each language of the question."""
    vector: torch.Tensor | None
    """[width] what the gate finds it by; None without a gate."""

    @classmethod
    def of(cls, edit: Edit, contexts: str | Mapping[str, str], vector: torch.Tensor | None) -> Self:
        """Without any field of the edit that is in another language."""
        fact = dataclasses.replace(edit, translations={}, questions={}, aliases=())
        return cls(fact, contexts if isinstance(contexts, str) else dict(contexts), vector)

    def context(self, language: str) -> str:
        if isinstance(self.contexts, str):
            return self.contexts
        if language not in self.contexts:
            raise RequestError(
                f"The memory answers questions in {', '.join(sorted(self.contexts))}, not in {language!r}: no training "
                f"fact shows how an answer crosses."
            )
        return self.contexts[language]


class MemoryChange:
    """Edits in a memory; no weight is touched. Questions about one of them are answered with its context."""

    def __init__(self, method: str, entries: Sequence[Entry], gate: Gate | None) -> None:
        """
        Args:
            method: that made it, and restores it.
            entries: at least one.
            gate: None where every question is about the one edit there is, by the method's option ``scope=all``.

        Raises:
            RequestError: several edits, and no gate that tells them apart.
        """
        if gate is None and len(entries) != 1:
            raise RequestError(f"A memory of several edits needs the gate: {method}.scope=all holds one edit only.")
        self.method, self.entries, self.gate = method, tuple(entries), gate
        self._in_language = functools.cache(self._find_language)

    @classmethod
    def joined(cls, changes: Sequence[MemoryChange]) -> MemoryChange:
        """One memory of all the edits of some, which were made with one gate.

        Raises:
            RequestError: they were not.
        """
        first = changes[0]
        if any(change.signature != first.signature for change in changes):
            raise RequestError("Only memories that were made with one gate can be joined.")
        return cls(first.method, [entry for change in changes for entry in change.entries], first.gate)

    def followed_by(self, later: MemoryChange) -> MemoryChange:
        """One memory of all the edits; of two that answer the same question, the later one."""
        said = {(fact.language, fact.prompt) for fact in later.facts}
        kept = [entry for entry in self.entries if (entry.fact.language, entry.fact.prompt) not in said]
        return MemoryChange(later.method, [*kept, *later.entries], later.gate)

    @property
    def facts(self) -> tuple[Edit, ...]:
        return tuple(entry.fact for entry in self.entries)

    @functools.cached_property
    def vectors(self) -> torch.Tensor:
        """[n, width] of all entries, where the latest one's is; of a memory with a gate. Those of a saved memory are on the
        host, wherever the later ones are made."""
        vectors = [entry.vector for entry in self.entries if entry.vector is not None]
        return torch.stack([vector.to(vectors[-1].device) for vector in vectors])

    def in_language(self, language: str) -> torch.Tensor:
        """[n] which edits are in a language."""
        return self._in_language(language)

    def _find_language(self, language: str) -> torch.Tensor:
        return torch.tensor([entry.fact.language == language for entry in self.entries])

    @property
    def signature(self) -> tuple[str, str | None]:
        """Memories of equal ones can be asked together."""
        return self.method, self.gate.sha256 if self.gate else None

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
        """Writes the edits with their contexts, and the gate."""
        facts = [{name: getattr(entry.fact, name) for name in FIELDS} for entry in self.entries]
        contexts = [
            entry.contexts if isinstance(entry.contexts, str) else dict(entry.contexts) for entry in self.entries
        ]
        data: dict[str, Any] = {"facts": facts, "contexts": contexts}
        tensors: dict[str, torch.Tensor] = {}
        if self.gate is not None:
            data["gate"] = self.gate.record()
            tensors = {**self.gate.tensors(), "vectors": self.vectors}
        save_change(folder, f"method:{self.method}", tensors, data)

    @classmethod
    def from_saved(
        cls,
        method: str,
        read: Callable[[Mapping[str, torch.Tensor], Mapping[str, Any]], Gate],
        tensors: Mapping[str, torch.Tensor],
        data: Mapping[str, Any],
    ) -> Self:
        """A saved change of a method.

        Args:
            read: makes its gate of `Gate.tensors` and `Gate.record`.
        """
        gate = read(tensors, data["gate"]) if "gate" in data else None
        vectors = list(tensors["vectors"]) if gate else [None] * len(data["facts"])
        entries = [
            Entry(Edit(**fact), contexts, vector)
            for fact, contexts, vector in zip(data["facts"], data["contexts"], vectors, strict=True)
        ]
        return cls(method, entries, gate)


class _MemoryIntervention(Intervention):
    def __init__(self, backbone: Backbone, changes: Sequence[MemoryChange]) -> None:
        super().__init__()
        self.backbone, self.changes = backbone, changes

    def delegates(self, queries: Sequence[Query]) -> Sequence[Delegate | None]:
        """The backbone itself, with the context of the edit that a question is about; None where it is about none."""
        asked = [(self.changes[query.row], Question(query.language, query.prompt)) for query in queries]
        gate = self.changes[0].gate
        places: Sequence[int | None] = gate.find(self.backbone, asked) if gate else [0] * len(queries)
        return [
            None if place is None else Delegate(self.backbone, memory.entries[place].context(question.language))
            for (memory, question), place in zip(asked, places, strict=True)
        ]
