"""IKE by the recipes of others: the paper's released code, and Zheng et al.'s own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit, Property, Sight
from xkeb.utils.hashing import digest
from xkeb_plugins.methods.ike import InContext, fact

PREFIX_LETTERS = "nq question: "
"""What the released code strips from the left of a locality question: letters, not a prefix (`run_bizsre.py:114`)."""


@dataclass
class PublishedInContext(InContext):
    """IKE as in the released code of the paper (https://github.com/krystalan/Bi_ZsRE, commit 254f830).

    Demonstrations are ``Q:.. A: ..``, which the new fact is not; after the nearest stands the new fact, asked as itself; the
    fact before a question has the answer of the language that is asked in, so that a model edited in English has the Chinese
    answer before its eyes when it is asked in Chinese; and locality is compared with the answer that the new fact gets
    without demonstrations. Everything is joined by a space, in Chinese, too.
    """

    in_paper: ClassVar[bool] = False
    sees: ClassVar[frozenset[Sight]] = InContext.sees | {Sight.TARGET_ANSWER}

    def context(self, edit: Edit, shown: str) -> dict[str, str]:
        itself = _asked_as_itself(edit, " ")
        return {code: shown + itself + new for code, new in self.before(edit).items()}

    def before(self, edit: Edit) -> dict[str, str]:
        return {code: f"New Fact: {edit.prompt} {answer}\nPrompt: " for code, answer in edit.translations.items()}

    def demonstrations(self, cases: Sequence[Case]) -> list[str]:
        """Three for each fact, equal ones included (a file may repeat a question as its own rephrase)."""
        texts = []
        for case in cases:
            question, answer = f"Q:{case.edit.prompt} A:", case.edit.target
            shown = f"New Fact: {question} {answer}\nPrompt: "
            texts.append(f"{shown}{question} {answer}\n\n")
            for probe in case.probes:
                asked = probe.prompt.lstrip(PREFIX_LETTERS) if probe.property == "locality" else probe.prompt
                texts.append(f"{shown}{asked} {probe.reference}\n\n")
        return texts

    def query(self, edit: Edit) -> str:
        return f"New Fact: {edit.prompt} {edit.target}\nPrompt: {edit.prompt}\n\n"


@dataclass
class OriginalInContext(InContext):
    """IKE as its authors have it (Zheng et al., 2023, Section 3.2; https://github.com/Zce1112zslx/IKE).

    The nearest facts, one demonstration of each: copies, updates and retentions in the proportion 1 : 3 : 4, in an order drawn
    for each edit, the nearest fact last; then the new fact, asked as itself. The answer is the edit's own, in its language.
    """

    in_paper: ClassVar[bool] = False
    requires: ClassVar[frozenset[Property]] = frozenset({"generality", "locality"})

    k: int = 32
    """Facts that are demonstrated, the nearest last."""
    seed: int = 0
    """Of the order of kinds."""

    _facts: list[tuple[str, str, str]] = field(default_factory=list, init=False, repr=False, compare=False)
    """Of each fact its copy, its update and its retention."""

    def demonstrations(self, cases: Sequence[Case]) -> list[str]:
        """The copies: a fact is near where its own question is."""
        self._facts = [_kinds(case) for case in cases]
        return [copy for copy, _, _ in self._facts]

    def context(self, edit: Edit, shown: str) -> str:
        return shown + _asked_as_itself(edit, self.joiner(edit)) + fact(edit.prompt, edit.target, edit.language)

    def _nearest(self, edits: Sequence[Edit], backbone: Backbone) -> list[str]:
        texts = []
        for edit, order in zip(edits, self._ranked(edits, backbone), strict=True):
            kinds = self._order(edit, len(order))
            shown = [self._facts[i][kind] for i, kind in zip(order, kinds, strict=True)]
            texts.append("".join(reversed(shown)))
        return texts

    def _order(self, edit: Edit, n: int) -> list[int]:
        """Kinds of `n` demonstrations: an eighth copies, three updates, the rest retentions."""
        copies, updates = round(n / 8), round(3 * n / 8)
        kinds = [0] * copies + [1] * updates + [2] * (n - copies - updates)
        key = digest({"seed": self.seed, "prompt": edit.prompt, "target": edit.target})
        generator = torch.Generator().manual_seed(int(key[:15], 16))
        return [kinds[i] for i in torch.randperm(n, generator=generator).tolist()]


def _asked_as_itself(edit: Edit, joiner: str) -> str:
    whole = f"{edit.prompt}{joiner}{edit.target}"
    return f"New Fact: {whole}\nPrompt: {whole}\n\n"


def _kinds(case: Case) -> tuple[str, str, str]:
    edit = case.edit
    shown = fact(edit.prompt, edit.target, edit.language)
    joiner = InContext.joiner(edit)
    update, retention = case.probe("generality"), case.probe("locality")
    pairs = ((edit.prompt, edit.target), (update.prompt, edit.target), (retention.prompt, retention.reference))
    copy, other, same = (f"{shown}{question}{joiner}{answer}\n\n" for question, answer in pairs)
    return copy, other, same
