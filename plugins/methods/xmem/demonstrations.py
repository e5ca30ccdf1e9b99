"""What stands before a question in scope: parallel training facts that are near to the edit, then the edit itself."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch

from xkeb.errors import unknown
from xkeb.types import Case, Edit
from xkeb.utils.hashing import digest
from xkeb_plugins.methods.memory.facts import joined, known_languages, languages_of, plain, said_in
from xkeb_plugins.methods.xmem.lexicon import Gloss
from xkeb_plugins.methods.xmem.text_index import TextIndex, Vector

Nearest = Literal["target", "question", "both", "random"]

FRAMES: dict[str, tuple[str, str]] = {
    "cs": ("Nový fakt: ", "Dotaz: "),
    "de": ("Neue Tatsache: ", "Frage: "),
    "en": ("New Fact: ", "Prompt: "),
    "es": ("Nuevo hecho: ", "Pregunta: "),
    "fr": ("Nouveau fait : ", "Question : "),
    "nl": ("Nieuw feit: ", "Vraag: "),
    "pt": ("Novo fato: ", "Pergunta: "),
    "ru": ("Новый факт: ", "Вопрос: "),
    "th": ("ข้อเท็จจริงใหม่: ", "คำถาม: "),
    "tr": ("Yeni bilgi: ", "Soru: "),
    "vi": ("Sự thật mới: ", "Câu hỏi: "),
    "zh": ("新事实：", "提问："),
    "none": ("", ""),
}
"""The words before a fact and before a question, by language."""


NO_GLOSSES: Mapping[str, Gloss] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Choice:
    """How demonstrations are chosen."""

    count: int
    nearest: Nearest
    least: float
    """Least cosine of two targets that are near."""
    seed: int
    """Of a random choice."""


class Demonstrations:
    """The parallel facts that can be shown, and the contexts that are made of them."""

    def __init__(self, facts: Sequence[Case], choice: Choice, frame: str) -> None:
        """
        Args:
            frame: a language of `FRAMES`, or none.

        Raises:
            RequestError: there are no words in that language.
        """
        if frame not in FRAMES:
            raise unknown("language of xmem.frame:", frame, FRAMES)
        self.facts, self.choice, self.words = tuple(facts), choice, FRAMES[frame]
        self.languages = known_languages(facts)
        self._index = functools.cache(self._make_index)

    def contexts(self, edit: Edit, glosses: Mapping[str, Gloss] = NO_GLOSSES) -> dict[str, str]:
        """What stands before a question about an edit, by the language of the question; that of the edit is one of ours.

        Args:
            glosses: the edit's answer in other languages. With one, each fact shows its own answer in that language, too:
                before the one in the edit's language, if the gloss was looked up, and else behind it.
        """
        order = self._order(edit)
        return {code: self._context(edit, code, order, glosses.get(code)) for code in self.languages}

    def choose(self, edit: Edit, asked: str) -> list[Case]:
        """The facts that are shown before a question in language `asked`, the nearest first."""
        return self._chosen(edit, asked, self._order(edit))

    def _context(self, edit: Edit, asked: str, order: Sequence[int], gloss: Gloss | None) -> str:
        before_fact, before_question = self.words
        shown = []
        for case in reversed(self._chosen(edit, asked, order)):
            fact = case.edit
            own = gloss and Gloss(fact.translations[asked], gloss.looked_up)
            told = _told(fact.questions[edit.language], fact.translations[edit.language], edit.language, own)
            shown.append(f"{before_fact}{told}\n{before_question}{said_in(case, asked)}\n\n")
        told = _told(edit.prompt, edit.target, edit.language, gloss)
        return f"{''.join(shown)}{before_fact}{told}\n{before_question}"

    def _chosen(self, edit: Edit, asked: str, order: Sequence[int]) -> list[Case]:
        """The first facts that are in both languages. A fact that asks what the edit asks would show another answer to it, and
        no question is shown twice."""
        seen = {plain(edit.prompt)}
        chosen: list[Case] = []
        for i in order:
            case = self.facts[i]
            if len(chosen) == self.choice.count:
                break
            if {edit.language, asked} <= set(languages_of(case)):
                question = plain(case.edit.questions[edit.language])
                if question not in seen:
                    seen.add(question)
                    chosen.append(case)
        return chosen

    def _order(self, edit: Edit) -> list[int]:
        """The facts, the nearest first. Of two that are equally near by target, the one with the nearer question."""
        choice = self.choice
        if choice.count == 0:
            return []
        if choice.nearest == "random":
            key = digest({"seed": choice.seed, "prompt": edit.prompt, "target": edit.target})
            generator = torch.Generator().manual_seed(int(key[:15], 16))
            drawn: list[int] = torch.randperm(len(self.facts), generator=generator).tolist()
            return drawn
        questions, targets = self._index(edit.language)
        question = questions.similarities(edit.prompt)
        if choice.nearest == "question":
            return _descending(question)
        target = targets.similarities(edit.target)
        if choice.nearest == "both":
            return _descending(question + target)
        return _descending(np.where(target >= choice.least, target.round(6), 0.0), question)

    def _make_index(self, language: str) -> tuple[TextIndex, TextIndex]:
        """The questions and the answers in a language; empty where a fact has none."""
        edits = [case.edit for case in self.facts]
        questions = TextIndex([edit.questions.get(language, "") for edit in edits])
        return questions, TextIndex([edit.translations.get(language, "") for edit in edits])


def _told(question: str, answer: str, language: str, gloss: Gloss | None) -> str:
    """A fact with its answer in two languages. What was looked up is copied best where an answer stands."""
    if gloss is None:
        return joined(question, answer, language)
    first, second = (gloss.text, answer) if gloss.looked_up else (answer, gloss.text)
    return f"{joined(question, first, language)} ({second})"


def _descending(first: Vector, then: Vector | None = None) -> list[int]:
    """Indices from the largest to the smallest; of equal ones, the largest of `then` first, and then the earliest."""
    keys = [np.arange(len(first)), *([] if then is None else [-then]), -first]
    order: list[int] = np.lexsort(keys).tolist()
    return order
