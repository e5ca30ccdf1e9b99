"""What an edit's answer is in another language: looked up among the training facts' answers, or gone on with from them."""

from __future__ import annotations

import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.memory.facts import known_languages, languages_of, plain
from xkeb_plugins.methods.memory.going_on import go_on
from xkeb_plugins.methods.xmem.text_index import TextIndex

TOKENS = 32
"""Most of an answer in another language."""

Pair = tuple[str, str]
"""An answer in two languages."""


class Lexicon:
    """The answers of training facts that are in more than one language.

    An answer that is among them is translated as most of those facts do. For another one, the model goes on from the pairs
    whose first text is most similar, by the cosine of TF-IDF over characters.
    """

    def __init__(self, facts: Sequence[Case], shown: int) -> None:
        """
        Args:
            shown: pairs before an answer that isn't known.
        """
        self.facts, self.shown = tuple(facts), shown
        self.languages = known_languages(facts)
        self._pairs = functools.cache(self._find_pairs)
        self._index = functools.cache(self._make_index)

    def glosses(self, backbone: Backbone, edits: Sequence[Edit]) -> list[dict[str, str]]:
        """The answer of each edit in the other languages, by language; without those in which the model says nothing."""
        found: list[dict[str, str]] = [{} for _ in edits]
        unknown: list[tuple[int, str]] = []
        for i, edit in enumerate(edits):
            for code in self.others(edit):
                if (answer := self.look_up(edit.target, edit.language, code)) is not None:
                    found[i][code] = answer
                else:
                    unknown.append((i, code))
        said = self.go_on_with(backbone, [(edits[i], code) for i, code in unknown])
        for (i, code), answer in zip(unknown, said, strict=True):
            if answer:
                found[i][code] = answer
        return found

    def others(self, edit: Edit) -> list[str]:
        """The languages of the training facts without that of an edit."""
        return [code for code in self.languages if code != edit.language]

    def go_on_with(self, backbone: Backbone, asked: Sequence[tuple[Edit, str]]) -> list[str]:
        """What the model makes of the answers of edits in another language each."""
        return go_on(backbone, [self.before(edit.target, edit.language, code) for edit, code in asked], TOKENS)

    def look_up(self, answer: str, language: str, other: str) -> str | None:
        """What most facts with this answer have in the other language, the first of equally many; None where none has it."""
        pair = self._pairs(language, other).get(plain(answer))
        return pair and pair[1]

    def before(self, answer: str, language: str, other: str) -> str:
        """The text that goes on with an answer in another language: the nearest pairs, the nearest last, and the answer."""
        return (
            "".join(f"{one}\n{two}\n\n" for one, two in reversed(self.nearest(answer, language, other))) + f"{answer}\n"
        )

    def nearest(self, answer: str, language: str, other: str) -> list[Pair]:
        """The pairs that are shown before an answer, the nearest first; not the answer's own."""
        pairs = list(self._pairs(language, other).values())
        order = np.argsort(-self._index(language, other).similarities(answer), kind="stable")
        own = plain(answer)
        near = (pairs[i] for i in order if plain(pairs[i][0]) != own)
        return list(itertools.islice(near, self.shown))

    def _find_pairs(self, language: str, other: str) -> dict[str, Pair]:
        """Each answer of one language, as it is spelt first, with what it is in the other; by its plain text."""
        spelt: dict[str, str] = {}
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for case in self.facts:
            if {language, other} <= set(languages_of(case)):
                answer = case.edit.translations[language]
                spelt.setdefault(plain(answer), answer)
                counts[plain(answer)][case.edit.translations[other]] += 1
        return {own: (answer, counts[own].most_common(1)[0][0]) for own, answer in spelt.items()}

    def _make_index(self, language: str, other: str) -> TextIndex:
        return TextIndex([one for one, _ in self._pairs(language, other).values()])
