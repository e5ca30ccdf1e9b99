"""What an editing method is to the suite."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

from xkeb.options import build
from xkeb.plugins import plugins
from xkeb.types import Case, Edit, Property

if TYPE_CHECKING:
    from xkeb.backbone import Backbone
    from xkeb.changes import Change
    from xkeb.stage import Stage


class Editor(Protocol):
    """A class whose fields are its options. The protocols below are optional."""

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> Sequence[Change]:
        """One change for each edit, each made to the untouched model, which is left as it was found."""
        ...


@runtime_checkable
class Learner(Protocol):
    """An editor that learns from the training set of the source language before its first edit.

    One that can only learn from facts with a rephrase or an unrelated question says so in a class attribute ``needs``,
    a tuple of the properties in question; it is then given no others.
    """

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Learns, or takes from the cache what it learnt before from the same data for the same weights; or does nothing,
        where these options want nothing learnt.

        Args:
            cases: training records as cases in the source language, each with a generality and a locality probe where
                the record has a rephrase and an unrelated question.
        """
        ...

    def learns(self) -> bool:
        """Whether these options need `fit` at all; without training data, a run that doesn't can still go ahead."""
        ...


@runtime_checkable
class Settling(Protocol):
    """An editor some of whose defaults depend on the backbone, such as a layer that scales with its depth."""

    def settle(self, backbone: Backbone) -> Any:
        """A copy with every such option filled in."""
        ...


@runtime_checkable
class Choosy(Protocol):
    """An editor that can't make every edit."""

    def refuses(self, backbone: Backbone, edit: Edit) -> str | None:
        """Why this edit can't be made, or None. A refused case is skipped, and counted with the reason."""
        ...


@runtime_checkable
class Rehearsing(Protocol):
    """An editor of which a plan can say what it needs, in memory and time, before any weights are loaded."""

    def rehearse(self, stage: Stage, edits: Sequence[Edit]) -> Sequence[Change]:
        """What `edit` would give, made on a backbone whose tensors have shapes and no memory.

        The method's own code runs as it always does, and a meter looks on. Where it wants many steps that are all alike,
        ``stage.in_steps`` does two; what it learns beforehand, it learns here, in ``stage.phase("fit")``, from as many of
        ``stage.training`` as are needed at once. An editor that makes a few steps says no more than
        ``return self.edit(stage.backbone, edits)``.

        Raises:
            RequestError: it can't be known without something that isn't at hand.
        """
        ...


def load_editor(name: str, **options: Any) -> Any:
    """The editing method registered as `name`, with the given options.

    Raises:
        RequestError: an unknown method or option, or a value that an option can't have.
    """
    return build("method", name, plugins().methods.get(name), options)


def settled(editor: Any, backbone: Backbone) -> Any:
    """`editor` with the options that depend on the backbone filled in."""
    return editor.settle(backbone) if isinstance(editor, Settling) else editor


def learns(editor: Any) -> TypeGuard[Learner]:
    """Whether it has to learn before its first edit."""
    return isinstance(editor, Learner) and editor.learns()


def taught(editor: Any, backbone: Backbone, cases: Sequence[Case]) -> Any:
    """`editor`, `settled`, with whatever it has to learn learnt from training `cases`."""
    me = settled(editor, backbone)
    if learns(me):
        me.fit(backbone, cases)
    return me


def able(editor: Any, backbone: Backbone, cases: Sequence[Case]) -> list[Case]:
    """The cases whose edits are not refused."""
    if not isinstance(editor, Choosy):
        return list(cases)
    me = settled(editor, backbone)
    return [case for case in cases if not me.refuses(backbone, case.edit)]


def needs_of(editor: Any) -> frozenset[Property]:
    """Of which properties a training fact must have a probe for the editor to learn from it."""
    return frozenset(getattr(editor, "needs", ()))


def options_of(editor: Any) -> dict[str, Any]:
    """An editor's options as data, for the record."""
    if dataclasses.is_dataclass(editor):
        return {field.name: getattr(editor, field.name) for field in dataclasses.fields(editor) if field.init}
    return {name: value for name, value in vars(editor).items() if not name.startswith("_")}


def scaled(layer: int, of: int, backbone: Backbone) -> int:
    """The layer that stands as deep in `backbone` as `layer` stands in a model of `of` layers."""
    return min(backbone.n_layers - 1, round(layer * backbone.n_layers / of))
