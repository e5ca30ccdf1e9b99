"""Methods here and the bridges to EasyEdit's own, with settings under which both are asked for the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import xkeb
from xkeb.editing.editor import Editor, prepare
from xkeb.models.backbone import Backbone
from xkeb.types import Case

PREFIXES = (
    "The city lies on a river. ",
    "Therefore it was closed. ",
    "Because of the rain. ",
    "I have never been there. ",
    "You can see it from here. ",
    "The first edition was printed in a small town near the coast. ",
    "Therefore the council decided to build another bridge over the river. ",
    "Because nobody had asked, the letter stayed in its drawer for years. ",
    "I think that the second book of the series is the best. ",
    "You will find the answer on the last page of the report. ",
)
"""Given to both sides by hand, so that nothing is sampled."""

END = "<|endoftext|>"
"""What EasyEdit's KN looks for where a request has no true answer."""

NEAREST = 16
"""Demonstrations of IKE that are compared."""

Options = Mapping[str, Any]


@dataclass(frozen=True)
class EditorPair:
    """A method here, and the bridge to EasyEdit's."""

    method: str
    both: Options = field(default_factory=dict)
    ours: Options = field(default_factory=dict)
    its: Options = field(default_factory=dict)
    bridge: str | None = None
    """Its method where that has another name than ``easyeditor-`` and ours."""

    def from_checkout(self, path: str) -> Self:
        """The pair with the code of a checkout."""
        return dataclasses.replace(self, its={**self.its, "path": path})

    def on_tokens(self, tokens: str) -> Self:
        """The pair with EasyEdit's code on its own tokens (``easyeditor``) or on ours (``xkeb``)."""
        return dataclasses.replace(self, its={**self.its, "tokens": tokens})

    def prepared(
        self, here: Backbone, there: Backbone, training: Sequence[Case], options: Options
    ) -> tuple[Editor, Editor]:
        """Ours and EasyEdit's, with whatever they have to learn learned; `options` go to both."""
        ours = xkeb.load_editor(self.method, **{**self.both, **self.ours, **options})
        its = xkeb.load_editor(self.bridge or f"easyeditor-{self.method}", **{**self.both, **self.its, **options})
        shown = self.facts(its, there, training)
        return prepare(ours, here, shown), self.prepared_bridge(its, there, shown)

    def facts(self, its: Editor, there: Backbone, training: Sequence[Case]) -> Sequence[Case]:
        """The training facts that both are shown."""
        return training

    def prepared_bridge(self, its: Editor, there: Backbone, training: Sequence[Case]) -> Editor:
        """EasyEdit's with what it has to learn learned."""
        return prepare(its, there, training)


GIVEN: Options = {"tokens": "xkeb"}
PREFIXED: Options = {"context_templates": PREFIXES, "mom2_corpus": "task"}
PAIRS = {
    "ft": EditorPair("ft", its=GIVEN),
    "rome": EditorPair("rome", {**PREFIXED, "mom2_adjustment": False}, its=GIVEN),
    "rome-covariance": EditorPair("rome", {**PREFIXED, "mom2_adjustment": True}, its=GIVEN),
    "memit": EditorPair("memit", PREFIXED, its=GIVEN),
    "kn": EditorPair("kn", {"answer": END}, ours={"joined": False}),
    "kn-default": EditorPair("kn", its={**GIVEN, "answer": None}),
    "ike": EditorPair("ike", ours={"k": NEAREST}, its={"k": 2 * NEAREST}),
}
"""``kn`` has EasyEdit's tokens and answer on both sides, ``kn-default`` ours."""
