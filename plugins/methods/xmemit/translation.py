"""What a model itself makes of an edit in another language, from training facts that are in both."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from xkeb.data.subjects import locate_subject, split_words
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.memory.facts import known_languages, languages_of, plain
from xkeb_plugins.methods.memory.going_on import go_on
from xkeb_plugins.methods.xmem.demonstrations import Choice, Demonstrations
from xkeb_plugins.methods.xmem.lexicon import Lexicon

_LOG = logging.getLogger(__name__)

LEAST_LETTERS = 3
"""Of a word that two questions share, for a name to be kept."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How many training facts are shown, and how long a translation may be."""

    questions: int
    answers: int
    tokens: int
    """Most of a question."""


class Translator:
    """Demonstrations of questions and of answers. A question is translated with its subject as it is written in the edit's
    language, so that a method that edits at the subject finds it there."""

    def __init__(self, facts: Sequence[Case], recipe: Recipe) -> None:
        self.recipe = recipe
        self.lexicon = Lexicon(facts, recipe.answers)
        choice = Choice(recipe.questions, "question", least=0.0, seed=0)
        self._questions = {
            pair: Demonstrations([case for case in facts if keeps_a_name(case, *pair)] or facts, choice, "none")
            for pair in itertools.permutations(known_languages(facts), 2)
        }

    def translate(self, backbone: Backbone, edits: Sequence[Edit]) -> list[list[Edit]]:
        """Of each edit, the same fact in each other language in which its question keeps its subject."""
        places = [(i, code) for i, edit in enumerate(edits) for code in self.lexicon.others(edit)]
        questions = go_on(backbone, [self.before_question(edits[i], code) for i, code in places], self.recipe.tokens)
        found = {}
        for (i, code), question in zip(places, questions, strict=True):
            subject = locate_subject(edits[i].subject, question) if edits[i].subject else None
            if subject is None or plain(question) == plain(edits[i].prompt):  # repeated, not translated
                _LOG.info("No question in %s for %r: %r", code, edits[i].prompt, question)
                continue
            found[i, code] = Edit(question, "", code, subject.text)
        placed = list(dict.fromkeys(i for i, _ in found))
        glosses = dict(zip(placed, self.lexicon.glosses(backbone, [edits[i] for i in placed]), strict=True))
        translated: list[list[Edit]] = [[] for _ in edits]
        for (i, code), edit in found.items():
            gloss = glosses[i].get(code)  # without one, it is the same text
            translated[i].append(dataclasses.replace(edit, target=gloss.text if gloss else edits[i].target))
        return translated

    def before_question(self, edit: Edit, language: str) -> str:
        """The text that goes on with the edit's question in another language."""
        chosen = self._questions[edit.language, language].choose(edit, language)
        shown = [
            f"{case.edit.questions[edit.language]}\n{case.edit.questions[language]}\n\n" for case in reversed(chosen)
        ]
        return f"{''.join(shown)}{edit.prompt}\n"


def keeps_a_name(case: Case, one: str, other: str) -> bool:
    """Whether a fact's questions in two languages share a word, as they do where a name is written the same in both."""
    if not {one, other} <= set(languages_of(case)):
        return False
    first, second = (
        {word.text for word in split_words(case.edit.questions[code]) if len(word.text) >= LEAST_LETTERS}
        for code in (one, other)
    )
    return bool(first & second)
