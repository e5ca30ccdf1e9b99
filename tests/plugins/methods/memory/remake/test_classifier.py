"""remake's classifier, computed again pair by pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.memory.facts import Question, asked_as, unrelated_to
from xkeb_plugins.methods.memory.states import cached_states
from xkeb_plugins.methods.remake.classifier import Head, PairTrainee

Numbers = list[float]


def plain_odds(head: Head, one: Numbers, other: Numbers) -> float:
    total = float(head.bias.detach())
    for u, v, a, b in zip(head.products.tolist(), head.differences.tolist(), one, other, strict=True):
        total += u * a * b - v * (a - b) ** 2
    return 16 * total


def test_the_log_odds_are_those_of_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    head = Head(torch.randn(5, generator=generator), torch.randn(5, generator=generator), torch.tensor(0.3))
    one, other = torch.randn(3, 5, generator=generator), torch.randn(4, 5, generator=generator)
    found = head.log_odds(one, other)
    assert found.shape == (3, 4)
    for i, a in enumerate(one.tolist()):
        for j, b in enumerate(other.tolist()):
            assert float(found[i, j]) == pytest.approx(plain_odds(head, a, b), rel=1e-4, abs=1e-4)
    assert torch.allclose(found, head.log_odds(other, one).T, atol=1e-4)  # whichever is asked first


def trainee_of(editor: Any, backbone: Backbone, training: Sequence[Case]) -> PairTrainee:
    plan = editor.configure(backbone.spec).training(training)
    states = cached_states(backbone, plan.layer, list(dict.fromkeys(q.text for q in plan.questions())))
    trainee: PairTrainee = plan.trainee(plan.space(states), states)
    return trainee


def test_the_loss_is_cross_entropy_pair_by_pair(llama: Backbone, editor: Any, training: list[Case]) -> None:
    trainee = trainee_of(editor, llama, training)
    with torch.no_grad():
        trainee.differences.add_(0.2)
    # Two that are asked the same: neither is another fact to the other.
    cases = [*training[:3], Case("twin", training[0].edit, training[1].probes)]

    def vector(question: Question) -> Numbers:
        mapped = trainee.map @ trainee.space.normalized(trainee.states.of([question.text]), [question])[0]
        numbers: Numbers = (mapped / mapped.norm()).tolist()
        return numbers

    head = Head(trainee.products, trainee.differences, trainee.bias)
    same, other = [], []
    every = [(question, i) for i, case in enumerate(cases) for question in asked_as(case)]
    outside = [(question, -1) for case in cases for question in unrelated_to(case)]
    for place, (one, i) in enumerate(every):
        own = {question.text for question in asked_as(cases[i])}
        for there, (two, j) in enumerate([*every, *outside]):
            chance = 1 / (1 + math.exp(-plain_odds(head, vector(one), vector(two))))
            if i == j and place != there:
                same.append(-math.log(chance))
            elif two.text not in own:
                other.append(-math.log(1 - chance))
    expected = (sum(same) / len(same) + sum(other) / len(other)) / 2
    assert float(trainee.loss(cases).detach()) == pytest.approx(expected, rel=1e-3)


def test_training_tells_questions_apart(llama: Backbone, editor: Any, training: list[Case]) -> None:
    trainee = trainee_of(editor, llama, training)
    with torch.no_grad():
        before = trainee.validate(training[:30])["loss"]
    assert {id(p) for group in trainee.optimizers[0].param_groups for p in group["params"]} == {
        id(parameter) for parameter in (trainee.map, trainee.products, trainee.differences, trainee.bias)
    }
    for _ in range(20):
        trainee.optimizers[0].zero_grad()
        trainee.backward(training[:30])
        trainee.optimizers[0].step()
    with torch.no_grad():
        assert trainee.validate(training[:30])["loss"] < 0.8 * before


def test_one_fact_alone_is_a_loss_too(llama: Backbone, editor: Any, training: list[Case]) -> None:
    bare = Case("bare", training[0].edit, ())
    loss = trainee_of(editor, llama, training).loss([bare])
    assert math.isfinite(float(loss.detach())) and float(loss.detach()) > 0
