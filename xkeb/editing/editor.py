"""What an editing method is to the suite: one base class, and one life."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch

from xkeb.editing.changes import Change
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.session import Session, State
from xkeb.editing.sights import TRAINING, show_edit, show_training
from xkeb.errors import PluginError, RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.spec import ModelSpec
from xkeb.registry.manager import get_plugins
from xkeb.registry.options import build_with_options
from xkeb.types import Case, Edit, Property, Scorer, Sight

T = TypeVar("T")


class Editor:
    """An editing method. Its fields are its options; `edit` alone makes a method, and the defaults of all else do nothing.

    The suite leads it through one life: `configure`, `fit` where `needs_training` says so, then `unsupported` and `edit`.
    """

    in_paper: ClassVar[bool] = False
    """Whether a run that names no methods runs it, since the paper does."""
    released_as: ClassVar[str | None] = None
    """The registered method that a run by the paper's protocol that names no methods takes instead: this one as the released
    code has it."""
    released_scorer: ClassVar[Scorer] = "growing"
    """How the paper's released code asks a method of this kind (``--protocol paper``)."""
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT})
    """What it may look at; the suite hands it nothing else."""
    requires: ClassVar[frozenset[Property]] = frozenset()
    """Probes that a training fact must have for it to learn from; it is given no other facts."""

    required_options: ClassVar[frozenset[str]] = frozenset()
    """Options without which it can't be made. ``--methods all`` leaves it out where they aren't given."""

    cumulative: ClassVar[bool] = False
    """Whether what `edit_after` returns stands for the earlier edits, too, so that none is at work while the next is made."""
    learns_from_any_text: ClassVar[bool] = False
    """Whether it only wants text: where a task has no training facts, it is given those that come with the suite."""

    def configure(self, spec: ModelSpec) -> Self:
        """A copy with every option filled in that depends on the model. Called again, it changes nothing more.

        Raises:
            RequestError: an option that the model can't have, such as a layer that isn't there.
        """
        return self

    def needs_training(self) -> bool:
        """Whether, configured, it must see training facts before its first edit."""
        return False

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Learns from training facts, or takes from the cache what it learned from the same facts for the same weights.

        Args:
            cases: training facts in the source language, each with a generality and a locality probe where the record
                has a rephrase and an unrelated question.
        """

    def reads(self) -> Iterable[Path]:
        """Files and folders, beside data and model, that its changes depend on. Where one isn't what it was, a finished run is
        no longer known for one."""
        return ()

    def unsupported(self, backbone: Backbone, edit: Edit) -> str | None:
        """Why this edit can't be made, or None. Such a case is skipped, and counted with the reason."""
        return None

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> Sequence[Change]:
        """One change for each edit, each made to the model as it is, which is left as it was found."""
        raise NotImplementedError(f"{type(self).__name__} has no edit()")

    def edit_together(self, backbone: Backbone, edits: Sequence[Edit]) -> Change:
        """One change that makes all the edits. A method that has this follows regimes with batches.

        Raises:
            RequestError: the method makes one edit at a time.
        """
        raise RequestError(f"{type(self).__name__} makes one edit at a time.")

    def edit_after(self, backbone: Backbone, edits: Sequence[Edit], past: State) -> tuple[Change, State]:
        """One change that makes the edits on top of earlier ones, and what the method carries on to the next.

        A method overrides this where it has a state over a sequence of edits.

        Args:
            backbone: with the earlier changes applied, unless the method is `cumulative`.
            past: what this returned with the change before; empty for the first. On the CPU, where it was saved meanwhile.
        """
        if len(edits) > 1:
            return self.edit_together(backbone, edits), past
        return checked_changes(self, self.edit(backbone, edits), 1)[0], past

    def begin(self, backbone: Backbone) -> Session:
        """Edits that follow one another on one model; of a prepared editor."""
        return Session(self, backbone)

    def why_single(self) -> str | None:
        """Why one model can't get several edits of this method, or None."""
        return None

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> Sequence[Change]:
        """What `edit` would return, made on a backbone whose tensors have shapes and no memory.

        The method's own code runs as it always does, and a meter looks on. Where it takes many steps that are all alike,
        ``session.in_steps`` does two; what it learns beforehand, it learns here, in ``session.phase("fit")``. A method
        that takes a few steps needs no more than ``return self.edit(session.backbone, edits)``.

        Raises:
            RequestError: it can't be known without something that isn't at hand.
        """
        raise RequestError(f"{type(self).__name__} doesn't say what an edit needs")

    @classmethod
    def restore(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> Change:
        """A change of a kind of its own, as it was saved (see `xkeb.editing.serialization.save_change`)."""
        raise RequestError(f"{cls.__name__} saves no changes of its own kind.")

    def filled(self, options: Mapping[str, Any]) -> Self:
        """A copy in which options that are None have these values. What was learned goes along."""
        me = copy.copy(self)
        for name, value in options.items():
            if getattr(me, name) is None:
                object.__setattr__(me, name, value)  # a frozen dataclass may be an editor, too
        return me


def known(value: T | None) -> T:
    """An option that `Editor.configure` has filled in."""
    assert value is not None, "an option is read before configure() has filled it in"
    return value


EDITING = ("edit", "edit_together", "edit_after")
"""Of which a method has at least one."""
_COMPLETED: dict[type[Any], type[Editor]] = {}


def with_defaults(cls: type[Any]) -> type[Editor]:
    """A class that has `edit` as an editor that has the rest as well; the same one each time."""
    if issubclass(cls, Editor):
        return cls
    if cls not in _COMPLETED:
        names = {"__module__": cls.__module__, "__doc__": cls.__doc__}
        _COMPLETED[cls] = type(cls.__name__, (cls, Editor), names)
    return _COMPLETED[cls]


def editor_class(name: str) -> type[Editor]:
    """The class registered as method `name`.

    Raises:
        RequestError: there is no such method.
        PluginError: the class can't edit.
    """
    found = with_defaults(get_plugins().methods.get(name))
    if not any(getattr(found, method) is not getattr(Editor, method) for method in EDITING):
        raise PluginError(f"Method {name!r} is registered as {found.__name__}, which has no edit(backbone, edits).")
    with contextlib.suppress(ValueError):  # of a function that tells nothing of its arguments
        try:
            inspect.signature(found.edit).bind(None, None, None)
        except TypeError as error:
            raise PluginError(
                f"{found.__name__}.edit of method {name!r} can't be called with (backbone, edits): {error}."
            ) from error
    return found


def load_editor(name: str, **options: Any) -> Editor:
    """The editing method registered as `name`, with the given options.

    Raises:
        RequestError: an unknown method or option, or a value that an option can't have.
    """
    editor: Editor = build_with_options("method", name, editor_class(name), options)
    return editor


def prepare(editor: Editor, backbone: Backbone, cases: Sequence[Case] = ()) -> Editor:
    """The editor configured for a backbone, with whatever it has to learn learned.

    Args:
        cases: training facts; of those with the probes that it requires, it is shown what it declares to see.

    Raises:
        PluginError: it needs training facts, and doesn't declare that it sees any.
    """
    me = editor.configure(backbone.spec)
    if me.needs_training():
        if not me.sees & TRAINING:
            raise PluginError(
                f"{type(me).__name__} needs training, so its `sees` should hold Sight.SOURCE_TRAINING or "
                f"Sight.PARALLEL_TRAINING."
            )
        me.fit(backbone, [case for case in show_training(cases, me.sees) if case.has(me.requires)])
    return me


def make_changes(editor: Editor, backbone: Backbone, edits: Sequence[Edit]) -> Sequence[Change]:
    """One change for each edit; the editor is shown what it declares to see.

    Raises:
        PluginError: it returned something else.
    """
    changes = editor.edit(backbone, [show_edit(edit, editor.sees) for edit in edits])
    return checked_changes(editor, changes, len(edits))


def checked_changes(editor: Editor, changes: Any, count: int) -> Sequence[Change]:
    """What a method returned, if it is as many changes as there were edits.

    Raises:
        PluginError: it isn't.
    """
    wrong = None
    if not isinstance(changes, Sequence) or isinstance(changes, str):
        wrong = f"something of type {type(changes).__name__}"
    elif len(changes) != count:
        wrong = f"{len(changes)} changes for {count} edit{'s' * (count != 1)}"
    elif others := [one for one in changes if not isinstance(one, Change)]:
        wrong = f"a list that holds something of type {type(others[0]).__name__}, which has no applied(backbone)"
    if wrong:
        raise PluginError(
            f"{type(editor).__name__}.edit returned {wrong}; a list with a change for each edit was expected."
        )
    return changes


def why_unsupported(editor: Editor, backbone: Backbone, edit: Edit) -> str | None:
    """Why a prepared editor can't make an edit, or None."""
    return editor.unsupported(backbone, show_edit(edit, editor.sees))


def why_no_sequence(editor: Editor, batch: int) -> str | None:
    """Why an editor can't make many edits in batches of that size on one model, or None."""
    if reason := editor.why_single():
        return reason
    own = type(editor)
    alone = own.edit_together is Editor.edit_together and own.edit_after is Editor.edit_after
    return "it makes one edit at a time" if batch > 1 and alone else None


def supported_cases(editor: Editor, backbone: Backbone, cases: Sequence[Case]) -> list[Case]:
    """The cases whose edits the editor can make."""
    me = editor.configure(backbone.spec)
    return [case for case in cases if not why_unsupported(me, backbone, case.edit)]


def options_of(editor: Editor) -> dict[str, Any]:
    """An editor's options as data, for the record."""
    if dataclasses.is_dataclass(editor):
        return {field.name: getattr(editor, field.name) for field in dataclasses.fields(editor) if field.init}
    return {name: value for name, value in vars(editor).items() if not name.startswith("_")}
