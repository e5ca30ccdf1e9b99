"""What a forward pass can be intervened with: hooks on modules, text before prompts, other models that answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self

from xkeb.models.backbone import Backbone
from xkeb.types import Query


@dataclass(frozen=True, slots=True)
class Delegate:
    """Another model that answers a question."""

    backbone: Backbone
    """With a tokenizer of its own."""
    context: str
    """What it is shown before the prompt."""


class Intervention:
    """One change or several, at work in one batch. `select` says which of them each row of the next batch sees."""

    def __init__(self) -> None:
        self.selected: list[int] = []

    def select(self, indices: Sequence[int]) -> None:
        """Row i of the next batch sees change ``indices[i]``."""
        self.selected = list(indices)

    def read_questions(self, questions: Sequence[Sequence[int]]) -> None:
        """What the rows of the next batch are asked, in tokens: all that stands before the first token that is predicted. For
        those that act on some questions only. Does nothing by default."""

    def context(self, index: int, language: str) -> str:
        """The text before a prompt in that language, asked under change `index`."""
        return ""

    def delegates(self, queries: Sequence[Query]) -> Sequence[Delegate | None]:
        """For each question the model that answers it instead; None for the backbone itself."""
        return [None] * len(queries)

    def hooks(self, backbone: Backbone) -> Iterable[Any]:
        """Registers forward hooks one by one, and yields their handles."""
        return ()

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[Self]:
        """Inside, the hooks are registered."""
        with ExitStack() as stack:
            for handle in self.hooks(backbone):
                stack.callback(handle.remove)
            yield self

    @contextmanager
    def installed(self, backbone: Backbone) -> Iterator[None]:
        """Inside, the backbone answers every question under change 0. It replaces an intervention that was installed before,
        and gives way to it on exit."""
        outer = backbone.intervention
        self.select([0])
        with self.applied(backbone):
            backbone.intervention = self
            try:
                yield
            finally:
                backbone.intervention = outer


def installed_intervention(backbone: Backbone) -> Intervention | None:
    """What the backbone answers every question under, if anything."""
    intervention = backbone.intervention
    assert intervention is None or isinstance(intervention, Intervention)
    return intervention
