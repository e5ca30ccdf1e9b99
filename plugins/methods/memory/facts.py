"""Training facts that are in more than one language: what gates and demonstrations take from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from xkeb.errors import RequestError
from xkeb.registry.manager import get_plugins
from xkeb.types import Case, Edit
from xkeb.utils.hashing import digest

FEWEST = 20
"""A tenth is held out, and two facts are needed there to see one accept the other's question."""


class Question(NamedTuple):
    """A question as a gate reads it."""

    language: str
    """Code."""
    text: str


def languages_of(case: Case) -> list[str]:
    """The languages in which a fact has its question and its answer, its own first."""
    edit = case.edit
    both = [code for code in edit.questions if edit.questions[code] and edit.translations.get(code)]
    return sorted(both, key=lambda code: (code != edit.language, code))


def parallel_facts(cases: Sequence[Case], method: str) -> list[Case]:
    """The facts that are in more than one language.

    Args:
        method: that learns from them.

    Raises:
        RequestError: they are too few.
    """
    facts = [case for case in cases if len(languages_of(case)) > 1]
    if len(facts) < FEWEST:
        raise RequestError(
            f"{method} learns from training facts whose question and answer are in more than one language: it needs at "
            f"least {FEWEST}, and {len(facts)} of {len(cases)} are."
        )
    return facts


def known_languages(facts: Iterable[Case]) -> list[str]:
    """The languages that any of these facts is in."""
    return sorted({code for case in facts for code in languages_of(case)})


def asked_as(case: Case) -> list[Question]:
    """The question of a fact in each of its languages, the fact's own first, then its rephrases; each text once."""
    edit = case.edit
    own = [Question(edit.language, edit.prompt), *(Question(code, edit.questions[code]) for code in languages_of(case))]
    other = [Question(probe.language, probe.prompt) for probe in case.probes if probe.property == "generality"]
    return list(dict.fromkeys([*own, *other]))


def unrelated_to(case: Case) -> list[Question]:
    """Questions that have nothing to do with a fact, as the training file gives them."""
    return [Question(probe.language, probe.prompt) for probe in case.probes if probe.property == "locality"]


def really_unrelated(facts: Sequence[Case]) -> list[Case]:
    """The facts, each without those of its unrelated questions that ask for another of the facts: files without unrelated
    questions of their own fill them in with these, and a memory of many edits is to tell facts apart less strictly."""
    asked = {question for case in facts for question in asked_as(case)}
    return [
        dataclasses.replace(
            case,
            probes=tuple(
                probe
                for probe in case.probes
                if probe.property != "locality" or Question(probe.language, probe.prompt) not in asked
            ),
        )
        for case in facts
    ]


def all_questions(cases: Iterable[Case]) -> list[Question]:
    """Every question that a gate reads of some facts, once."""

    def each() -> Iterator[Question]:
        for case in cases:
            yield from asked_as(case)
            yield from unrelated_to(case)

    return list(dict.fromkeys(each()))


def digest_facts(cases: Sequence[Case]) -> str:
    """sha256 of the texts and languages of training facts, whatever they are called."""
    return digest([[dataclasses.asdict(case.edit), *map(dataclasses.asdict, case.probes)] for case in cases])


def said(edit: Edit) -> str:
    """A fact as a text: its question and its answer, in its own language."""
    return joined(edit.prompt, edit.target, edit.language)


def said_in(case: Case, language: str) -> str:
    """A training fact in one of its languages."""
    return joined(case.edit.questions[language], case.edit.translations[language], language)


def joined(question: str, answer: str, language: str) -> str:
    return f"{question}{get_plugins().languages.get(language).separator}{answer}"


def plain(text: str) -> str:
    """A text in whatever case and spacing: two that are equal then ask the same."""
    return " ".join(text.casefold().split())
