"""xmemit: MEMIT that writes an edit in every language, in one change with second moments of all of them.

What the edit is in another language, the model says itself, shown training facts that are in both. `xmemit-given` is told by
the data: how far a change of weights goes that knows the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch

from xkeb.data.subjects import locate_subject
from xkeb.editing.changes import LowRankChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import known
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.spec import ModelSpec
from xkeb.types import Case, Edit, Sight
from xkeb_plugins.methods.locate.covariance import in_turn
from xkeb_plugins.methods.locate.optimize_value import KeyValue
from xkeb_plugins.methods.locate.reachability import why_unreachable
from xkeb_plugins.methods.memit import Memit
from xkeb_plugins.methods.memory.facts import languages_of, parallel_facts
from xkeb_plugins.methods.memory.going_on import go_on
from xkeb_plugins.methods.tuned import tuned_settings
from xkeb_plugins.methods.xmemit.translation import Recipe, Translator, keeps_a_name


@dataclass
class CrossLingualMemit(Memit):
    """MEMIT of the edit and of what the model itself makes of it in the other languages, in one change."""

    name: ClassVar[str] = "xmemit"
    in_paper: ClassVar[bool] = False
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.PARALLEL_TRAINING})

    shown_questions: int = 6
    """Training facts that show how a question is translated, those with the nearest question."""
    shown_answers: int = 16
    """Answers of training facts that show how an answer is translated, the most similar; not needed for one that is among
    them."""
    translated_tokens: int = 64
    """Most tokens of a translated question."""
    merge: Literal["together", "sum"] = "together"
    """How the languages of an edit become one change: solved ``together``, so that each allows for the others' keys, or each by
    itself, and the ``sum`` of these changes."""

    _translator: Translator | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("shown_questions", "shown_answers", "translated_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def usual(self, spec: ModelSpec) -> dict[str, Any]:
        return super().usual(spec) | tuned_settings(Memit.name, spec)

    def needs_training(self) -> bool:
        """Whether it needs training facts: always, since they are shown."""
        return True

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Measures the second moments, and indexes the facts that can be shown.

        Raises:
            RequestError: there are too few facts in more than one language.
        """
        facts = parallel_facts(cases, self.name)
        self._translator = Translator(facts, Recipe(self.shown_questions, self.shown_answers, self.translated_tokens))
        super().fit(backbone, facts)

    def task_texts(self, facts: Sequence[Case] | None) -> list[str]:
        """The questions of each language in turn: a language that isn't among the second moments isn't protected."""
        by_language: dict[str, list[str]] = {}
        for case in facts or ():
            for code in languages_of(case):
                by_language.setdefault(code, []).append(case.edit.questions[code])
                if code == case.edit.language:
                    own = (probe.prompt for probe in case.probes if probe.language == code)
                    by_language[code].extend(own)
        return list(dict.fromkeys(in_turn(list(by_language.values()))))[: self.mom2_samples]

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One change for each edit, of a rank for each language that it is written in."""
        return self._write_groups(backbone, self.in_every_language(backbone, edits))

    def edit_together(self, backbone: Backbone, edits: Sequence[Edit]) -> LowRankChange:
        """One change that makes all the edits, in every language."""
        written = [edit for group in self.in_every_language(backbone, edits) for edit in group]
        return self._merged(backbone, written, self.find_values(backbone, written))

    def in_every_language(self, backbone: Backbone, edits: Sequence[Edit]) -> list[list[Edit]]:
        """Each edit, and the same in the other languages in which it can be written."""
        last = known(self.configure(backbone.spec).layers)[-1]
        return [
            [edit, *(other for other in others if why_unreachable(backbone, other, last) is None)]
            for edit, others in zip(edits, self.translations(backbone, edits), strict=True)
        ]

    def translations(self, backbone: Backbone, edits: Sequence[Edit]) -> list[list[Edit]]:
        """Of each edit, the same fact in other languages."""
        if self._translator is None:
            raise RequestError(f"{self.name} shows training facts: call fit() first.")
        return self._translator.translate(backbone, edits)

    def _write_groups(self, backbone: Backbone, groups: Sequence[Sequence[Edit]]) -> list[LowRankChange]:
        """One change for each group, which makes all its edits."""
        values = iter(self.find_values(backbone, [edit for group in groups for edit in group]))
        return [self._merged(backbone, group, [next(values) for _ in group]) for group in groups]

    def _merged(self, backbone: Backbone, edits: Sequence[Edit], facts: Sequence[KeyValue]) -> LowRankChange:
        """One change that makes all the edits."""
        if self.merge == "together":
            return self.write_values(backbone, edits, facts)
        by_language: dict[str, list[int]] = {}
        for i, edit in enumerate(edits):
            by_language.setdefault(edit.language, []).append(i)
        changes = [
            self.write_values(backbone, [edits[i] for i in own], [facts[i] for i in own])
            for own in by_language.values()
        ]
        return _summed(changes)

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        session.training = parallel_facts(session.training, self.name)
        return super().dry_run(session, edits)

    def _edit_dry(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        """As many changes of as many languages; what would be said is the longest training fact that keeps its name."""
        backbone, translator = session.backbone, known(self._translator)
        places = [(edit, code) for edit in edits for code in translator.lexicon.others(edit)]
        go_on(backbone, [translator.before_question(edit, code) for edit, code in places], self.translated_tokens)
        translator.lexicon.go_on_with(backbone, places)
        facts = self._questions or ()
        others = {code: _stand_in(facts, edit.language, code) for edit, code in places}
        groups = [[edit, *(other for one, code in places if one is edit for other in others[code])] for edit in edits]
        return self._write_groups(backbone, groups)


@dataclass
class GivenMemit(CrossLingualMemit):
    """MEMIT of the edit in every language as the data has it: the bound of what `xmemit` can reach."""

    name: ClassVar[str] = "xmemit-given"
    sees: ClassVar[frozenset[Sight]] = CrossLingualMemit.sees | {
        Sight.TARGET_QUESTION,
        Sight.TARGET_ANSWER,
        Sight.SUBJECT_ALIASES,
    }

    def translations(self, backbone: Backbone, edits: Sequence[Edit]) -> list[list[Edit]]:
        return [_given(edit) for edit in edits]

    def _edit_dry(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        return self.edit(session.backbone, edits)


def _summed(changes: Sequence[LowRankChange]) -> LowRankChange:
    """One change that does what all of these do."""
    factors = {}
    for path in changes[0].factors:
        left, right = zip(*(change.factors[path] for change in changes), strict=True)
        factors[path] = torch.cat(left, dim=1), torch.cat(right)
    return LowRankChange(factors)


def _given(edit: Edit) -> list[Edit]:
    """An edit in its other languages, where its subject is found there."""
    others = []
    for code, question in edit.questions.items():
        answer = edit.translations.get(code)
        subject = locate_subject(edit.subject, question, edit.aliases)
        if code != edit.language and answer and subject:
            others.append(Edit(question, answer, code, subject.text))
    return others


def _stand_in(facts: Sequence[Case], language: str, other: str) -> list[Edit]:
    """The longest fact that keeps its subject in another language, there."""
    kept = [
        case.edit
        for case in facts
        if keeps_a_name(case, language, other) and case.edit.subject and case.edit.subject in case.edit.questions[other]
    ]
    longest = sorted(kept, key=lambda edit: len((edit.questions[other] + edit.translations[other]).encode()))[-1:]
    return [Edit(edit.questions[other], edit.translations[other], other, edit.subject) for edit in longest]
