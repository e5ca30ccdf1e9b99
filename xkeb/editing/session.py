"""Edits that follow one another on one model: each is made to the model as it is edited so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch

from xkeb.editing.changes import Change, Savable, load_change
from xkeb.editing.composition import compose, settled
from xkeb.editing.finite import why_not_finite
from xkeb.editing.serialization import read_change, save_change
from xkeb.editing.sights import show_edit
from xkeb.errors import RequestError, XkebError
from xkeb.models.backbone import Backbone
from xkeb.types import Edit, Sight

State = Mapping[str, torch.Tensor]
"""What a method carries from its edits to the next ones, beside the change; empty before the first edit."""
STATE = "state"
"""Folder of the state beside the saved change, and its kind."""
FIELDS = ("prompt", "target", "language", "subject")
"""What is kept of an edit."""


class FailedEditError(XkebError):
    """A batch of edits came to nothing. The session is as it was before."""


class SequenceEditor(Protocol):
    """What a session needs of an editor."""

    @property
    def sees(self) -> frozenset[Sight]: ...

    @property
    def cumulative(self) -> bool: ...

    def edit_after(self, backbone: Backbone, edits: Sequence[Edit], past: State) -> tuple[Change, State]:
        """The change that makes the edits on top of those before, and the state after it."""
        ...


class Session:
    """An editor at work on one model. The model itself is as it was between two calls."""

    def __init__(self, editor: SequenceEditor, backbone: Backbone) -> None:
        """
        Args:
            editor: prepared for the backbone.
        """
        self.editor, self.backbone = editor, backbone
        self.change: Change | None = None
        """Of all edits so far; None before the first."""
        self.state: State = {}
        self.edits: list[Edit] = []
        """All so far, without what only their cases know."""

    def edit(self, edits: Sequence[Edit]) -> Change:
        """Makes some edits in one batch, on the model as edited so far, and returns the change that holds all edits so far.

        Raises:
            FailedEditError: the new change has values that are infinite or no numbers.
            RequestError: the method can't make these edits, or not on top of others.
        """
        shown = [show_edit(edit, self.editor.sees) for edit in edits]
        with self._at_work():
            made, state = self.editor.edit_after(self.backbone, shown, self.state)
        if reason := why_not_finite(made):
            raise FailedEditError(reason)
        whole = made if self.change is None or self.editor.cumulative else compose(self.change, made)
        self.change = settled(whole, self.backbone)
        self.state = _own(state)
        self.edits += [dataclasses.replace(edit, translations={}, questions={}, aliases=()) for edit in edits]
        return self.change

    def save(self, folder: Path | str) -> None:
        """Writes what the session needs to go on.

        Raises:
            RequestError: there was no edit yet, or its change can't be saved.
        """
        if not isinstance(self.change, Savable):
            raise RequestError(f"A change of the kind {type(self.change).__name__} can't be saved.")
        self.change.save(folder)
        edits = [{name: getattr(edit, name) for name in FIELDS} for edit in self.edits]
        save_change(Path(folder) / STATE, STATE, self.state, {"edits": edits})

    def load(self, folder: Path | str) -> None:
        """Goes on where `save` was called, to the bit, on the same kind of device.

        Raises:
            RequestError: there is nothing that `save` wrote.
        """
        change, saved = load_change(folder), read_change(Path(folder) / STATE)
        if saved.kind != STATE or "edits" not in saved.data:
            raise RequestError(f"{saved.path} is no state of a session.")
        self.change = settled(change, self.backbone)
        self.state = _own(saved.tensors)
        self.edits = [Edit(**edit) for edit in saved.data["edits"]]

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        if self.change is None or self.editor.cumulative:
            yield
            return
        with self.change.applied(self.backbone):
            yield


def _own(state: State) -> State:
    """Copies in the usual order of memory, so that a state that was saved and loaded is the same."""
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
