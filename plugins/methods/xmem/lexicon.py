"""What an edit's answer is in another language: looked up among the training facts' answers, or gone on with from them."""

from __future__ import annotations

import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xkeb.editing.editor import known
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.memory.facts import known_languages, languages_of, plain
from xkeb_plugins.methods.memory.going_on import go_on
from xkeb_plugins.methods.xmem.numbers import NUMBER, Filling, common_slots, filled, masked, pieces, ways_to_mask
from xkeb_plugins.methods.xmem.text_index import TextIndex

TOKENS = 32
"""Most of an answer in another language."""

Pair = tuple[str, str]
"""An answer in two languages."""


@dataclass(frozen=True, slots=True)
class Gloss:
    """An answer in another language."""

    text: str
    looked_up: bool
    """Among the training facts' answers; else the model said it."""


class Lexicon:
    """The answers of training facts that are in more than one language.

    An answer that is among them, whatever its numbers, is translated as most of those facts do. For another one, the model goes
    on from the pairs whose first text is most similar, by the cosine of TF-IDF over characters.
    """

    def __init__(self, facts: Sequence[Case], shown: int) -> None:
        """
        Args:
            shown: pairs before an answer that isn't known.
        """
        self.facts, self.shown = tuple(facts), shown
        self.languages = known_languages(facts)
        self._ways = functools.cache(self._find_ways)
        self._pairs = functools.cache(self._find_pairs)
        self._index = functools.cache(self._make_index)

    def glosses(self, backbone: Backbone, edits: Sequence[Edit]) -> list[dict[str, Gloss]]:
        """The answer of each edit in the other languages, by language. What is the same text there says nothing, and isn't
        among them."""
        asked = [(edit, code) for edit in edits for code in self.others(edit)]
        told = [self.look_up(edit.target, edit.language, code) for edit, code in asked]
        unknown = [pair for pair, answer in zip(asked, told, strict=True) if answer is None]
        said = iter(self.go_on_with(backbone, unknown))
        found = iter([Gloss(next(said), False) if answer is None else Gloss(answer, True) for answer in told])
        return [
            {
                code: gloss
                for code, gloss in zip(self.others(edit), found, strict=False)
                if gloss.text and plain(gloss.text) != plain(edit.target)
            }
            for edit in edits
        ]

    def others(self, edit: Edit) -> list[str]:
        """The languages of the training facts without that of an edit."""
        return [code for code in self.languages if code != edit.language]

    def go_on_with(self, backbone: Backbone, asked: Sequence[tuple[Edit, str]]) -> list[str]:
        """What the model makes of the answers of edits in another language each."""
        return go_on(backbone, [self.before(edit.target, edit.language, code) for edit, code in asked], TOKENS)

    def look_up(self, answer: str, language: str, other: str) -> str | None:
        """What most facts with this answer have in the other language, the first of equally many. If none has this answer, what
        more than half of the answers have that differ from it in their numbers alone; None where there is no such thing, as
        with years that are counted otherwise in the other language."""
        ways, alike = self._ways(language, other)
        numbers = NUMBER.findall(answer)
        best: tuple[int, str] | None = None
        for slots in ways_to_mask(answer):
            text = plain(masked(answer, slots))
            if not (counts := ways.get(text)):
                continue
            ((filling, count),) = counts.most_common(1)
            if not slots:
                return filled(filling, ())
            if 2 * count > alike[text] and (best is None or count > best[0]):
                best = count, filled(filling, [numbers[place] for place in slots])
        return best and best[1]

    def before(self, answer: str, language: str, other: str) -> str:
        """The text that goes on with an answer in another language: the nearest pairs, the nearest last, and the answer."""
        return (
            "".join(f"{one}\n{two}\n\n" for one, two in reversed(self.nearest(answer, language, other))) + f"{answer}\n"
        )

    def nearest(self, answer: str, language: str, other: str) -> list[Pair]:
        """The pairs that are shown before an answer, the nearest first; not the answer's own."""
        pairs = self._pairs(language, other)
        order = np.argsort(-self._index(language, other).similarities(answer), kind="stable")
        own = plain(answer)
        near = (pairs[i] for i in order if plain(pairs[i][0]) != own)
        return list(itertools.islice(near, self.shown))

    def _find_ways(self, language: str, other: str) -> tuple[dict[str, Counter[Filling]], Counter[str]]:
        """What answers of one language, and answers without some of their numbers, are in the other; and of how many answers
        each such text is what is left."""
        ways: defaultdict[str, Counter[Filling]] = defaultdict(Counter)
        alike: Counter[str] = Counter()
        for case in self.facts:
            if {language, other} <= set(languages_of(case)):
                here, there = case.edit.translations[language], case.edit.translations[other]
                ways[plain(here)][(there,)] += 1
                alike.update(plain(masked(here, slots)) for slots in ways_to_mask(here))
                if slots := common_slots(here, there):
                    ways[plain(masked(here, slots))][pieces(here, there, slots)] += 1
        return ways, alike

    def _find_pairs(self, language: str, other: str) -> list[Pair]:
        """Each answer of one language, as it is spelt first, with what it is in the other."""
        spelt: dict[str, str] = {}
        for case in self.facts:
            if {language, other} <= set(languages_of(case)):
                answer = case.edit.translations[language]
                spelt.setdefault(plain(answer), answer)
        return [(answer, known(self.look_up(answer, language, other))) for answer in spelt.values()]

    def _make_index(self, language: str, other: str) -> TextIndex:
        return TextIndex([one for one, _ in self._pairs(language, other)])
