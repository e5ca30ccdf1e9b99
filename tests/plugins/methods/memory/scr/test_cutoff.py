"""SCR's cut-offs, chosen again by plain loops."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from small_scr import fitted, plain_fact, plain_odds

from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.memory.facts import asked_as, unrelated_to
from xkeb_plugins.methods.scr.cutoff import CutOffs, best_cutoff, questions_of, trials


def test_the_best_cutoff_has_the_largest_difference_of_shares() -> None:
    # From 2.0 on: 2 of 4 and 0 of 5. From 1.0 on: 3 of 4 and 1 of 5. From 0.5 on: 4 of 4 and 3 of 5.
    assert best_cutoff([3.0, 0.5, 2.0, 1.0], [1.5, 0.7, 0.6, -1.0, -2.0]) == 1.0
    assert best_cutoff([1.0, 2.0], [1.5, 0.0]) == 2.0  # of equally good ones, the one that lets least through
    assert best_cutoff([], [1.0]) == 0.0


def test_no_other_cutoff_is_better() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        inside = torch.randn(9, generator=generator).add(0.7).tolist()
        outside = torch.randn(13, generator=generator).tolist()

        def index(cutoff: float, inside: list[float] = inside, outside: list[float] = outside) -> float:
            return sum(x >= cutoff for x in inside) / 9 - sum(x >= cutoff for x in outside) / 13

        found = best_cutoff(inside, outside)
        assert index(found) == pytest.approx(max(map(index, [*inside, *outside, 99.0])))


def test_who_meets_whom(training: list[Case]) -> None:
    # The last asks what the first asks, and is no other fact to it.
    cases = [*training[:6], dataclasses.replace(training[6], edit=training[0].edit)]
    similarities = torch.rand(len(questions_of(cases)), 7, generator=torch.Generator().manual_seed(3))
    every = trials(cases, similarities, 2, 0)
    expected = [(q, i, True) for i, case in enumerate(cases) for q in asked_as(case)]
    expected += [(q, i, False) for i, case in enumerate(cases) for q in unrelated_to(case)]
    about = sorted((question, i) for question, i, about in expected if about)
    assert sorted((trial.question, trial.own) for trial in every if trial.own is not None) == about
    for trial, row in zip(every, similarities.tolist(), strict=True):
        concerned = {i for i, case in enumerate(cases) if trial.question.text in {q.text for q in asked_as(case)}}
        far = [i for i in sorted(range(7), key=lambda i, row=row: -row[i]) if i not in concerned]  # type: ignore[misc]
        assert list(trial.nearest) == far[:2] and trial.one in far
    unrelated = [trial.one for trial in every if trial.own is None]
    assert unrelated == [i for i in range(7) for _ in range(2)]  # each meets the fact that it stands beside


def test_the_cutoffs_are_those_of_the_last_training_facts(
    llama: Backbone, editor: Any, training: list[Case], tiny_bert: Path
) -> None:
    facts = training[-12:]
    encoder = SentenceTransformer(str(tiny_bert), device="cpu")
    keys = encoder.encode([plain_fact(case.edit) for case in facts], normalize_embeddings=True)
    similarities = torch.tensor(
        encoder.encode(questions_of(facts), normalize_embeddings=True, convert_to_numpy=True) @ keys.T
    )
    scores: dict[tuple[bool, str], list[float]] = {}
    for trial in trials(facts, similarities, 3, 0):
        same = trial.question.language == "en"

        def word(place: int, question: str = trial.question.text) -> float:
            return plain_odds(llama, facts[place].edit, question)

        if trial.own is not None:
            scores.setdefault((same, "own"), []).append(word(trial.own))
        assert trial.one is not None
        scores.setdefault((same, "one"), []).append(word(trial.one))
        scores.setdefault((same, "near"), []).append(max(map(word, trial.nearest)))
    cutoffs: CutOffs = editor._gate.cutoffs
    for same, (n, kind) in itertools.product((True, False), ((1, "one"), (2, "near"), (500, "near"))):
        own, others = scores[same, "own"], scores[same, kind]

        def index(cutoff: float, own: list[float] = own, others: list[float] = others) -> float:
            near = cutoff - 1e-3
            return sum(x >= near for x in own) / len(own) - sum(x >= near for x in others) / len(others)

        found = cutoffs.of(n, same=same)
        assert min(abs(found - x) for x in own) < 2e-3
        assert index(found) == pytest.approx(max(index(x) for x in own), abs=0.1)


def test_facts_in_one_language_have_one_cutoff_for_all(llama: Backbone, training: list[Case], tiny_bert: Path) -> None:
    bare = [
        dataclasses.replace(
            case,
            edit=dataclasses.replace(case.edit, questions={}, translations={}),
            probes=tuple(probe for probe in case.probes if probe.language == "en"),
        )
        for case in training
    ]
    cutoffs = fitted(llama, bare, tiny_bert)._gate.cutoffs
    assert cutoffs.same == cutoffs.other != (0.0, 0.0)
