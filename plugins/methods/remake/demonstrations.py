"""What stands before a question in scope: parallel training facts that are asked like the edit, then the edit itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xkeb.types import Case, Edit
from xkeb.utils.artifacts import cached_tensors
from xkeb.utils.hashing import digest_texts
from xkeb_plugins.methods.encoders import embed, encoder_key
from xkeb_plugins.methods.memory.facts import known_languages, languages_of, plain, said, said_in

WORD = "Question: "
"""Before each question, in whatever language it is."""


class Demonstrations:
    """The parallel facts that can be shown, and the contexts that are made of them."""

    def __init__(self, facts: Sequence[Case], count: int, encoder: str) -> None:
        """
        Args:
            count: facts in a context.
            encoder: says which questions are near.
        """
        self.facts, self.count, self.encoder = tuple(facts), count, encoder
        self.languages = known_languages(facts)
        self._indices: dict[str, tuple[list[int], torch.Tensor]] = {}

    def contexts(self, edits: Sequence[Edit], device: torch.device) -> list[dict[str, str]]:
        """For each edit what stands before a question about it, by the language of the question.

        Args:
            device: where the encoder runs.
        """
        if not edits or not self.count:
            return [dict.fromkeys(self.languages, context(edit, "", [])) for edit in edits]
        vectors = embed(self.encoder, [edit.prompt for edit in edits], device)
        orders = [self._order(edit, vector, device) for edit, vector in zip(edits, vectors, strict=True)]
        return [
            {code: context(edit, code, self._chosen(edit, code, order)) for code in self.languages}
            for edit, order in zip(edits, orders, strict=True)
        ]

    def index(self, language: str, device: torch.device) -> tuple[list[int], torch.Tensor]:
        """The places of the facts in a language, and [n, d] their questions in it, as the encoder has them. Made once."""
        if language not in self._indices:
            places = [i for i, case in enumerate(self.facts) if language in languages_of(case)]
            texts = [self.facts[i].edit.questions[language] for i in places]
            key = {"encoder": encoder_key(self.encoder), "texts": digest_texts(texts)}
            kept = cached_tensors("sentences", key, lambda: {"index": embed(self.encoder, texts, device)})
            self._indices[language] = places, kept["index"]
        return self._indices[language]

    def _order(self, edit: Edit, vector: torch.Tensor, device: torch.device) -> list[int]:
        """The facts in the edit's language, those with the nearest question first."""
        places, index = self.index(edit.language, device)
        order: list[int] = (index @ vector).argsort(descending=True, stable=True).tolist()
        return [places[i] for i in order]

    def _chosen(self, edit: Edit, asked: str, order: Sequence[int]) -> list[Case]:
        """The first facts that are in both languages. A fact that asks what the edit asks would show another answer to it, and
        no question is shown twice."""
        seen = {plain(edit.prompt)}
        chosen: list[Case] = []
        for case in (self.facts[i] for i in order):
            if len(chosen) == self.count:
                break
            question = plain(case.edit.questions[edit.language])
            if asked in languages_of(case) and question not in seen:
                seen.add(question)
                chosen.append(case)
        return chosen


def context(edit: Edit, asked: str, shown: Sequence[Case]) -> str:
    """The facts in the edit's language and in that which is asked in, the nearest first, and the edit."""
    facts = [f"{WORD}{said_in(case, edit.language)}\n{WORD}{said_in(case, asked)}\n\n" for case in shown]
    return f"{''.join(facts)}{WORD}{said(edit)}\n{WORD}"
