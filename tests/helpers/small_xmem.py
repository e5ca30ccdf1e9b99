"""xmem with a gate of a few steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xkeb
from xkeb.editing.editor import make_changes, prepare
from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.memory.change import Entry, Gate, MemoryChange
from xkeb_plugins.methods.memory.facts import Question

SHORT: dict[str, Any] = {"steps": 40, "batch_size": 16, "validate_every": 20, "width": 16, "lr": 1e-2}


def fitted(backbone: Backbone, training: Sequence[Case], **options: Any) -> Any:
    return prepare(xkeb.load_editor("xmem", **{**SHORT, **options}), backbone, training)


def changes_of(editor: Any, backbone: Backbone, cases: Sequence[Case]) -> list[MemoryChange]:
    """One for each case, as the suite has them made."""
    return list(make_changes(editor, backbone, [case.edit for case in cases]))  # type: ignore[arg-type]


def found(gate: Gate, backbone: Backbone, memory: MemoryChange, question: Question) -> Entry | None:
    """The edit of a memory that a question is about, by a gate."""
    (place,) = gate.find(backbone, [(memory, question)])
    return None if place is None else memory.entries[place]


def shown_of(change: MemoryChange) -> Mapping[str, str]:
    (entry,) = change.entries
    assert not isinstance(entry.contexts, str)
    return entry.contexts
