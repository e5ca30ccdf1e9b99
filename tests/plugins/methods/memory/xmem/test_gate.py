"""xmem's gate, computed again from the formulae."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from small_xmem import fitted

from xkeb.models.backbone import Backbone
from xkeb.types import Case, Probe
from xkeb_plugins.methods.memory.facts import Question, asked_as, really_unrelated, unrelated_to
from xkeb_plugins.methods.memory.states import cached_states, mean_states
from xkeb_plugins.methods.xmem.cutoff import SIZES, CutOffs, FalsePairs, calibrated
from xkeb_plugins.methods.xmem.gate import Gate
from xkeb_plugins.methods.xmem.gate_training import GateTraining


@torch.no_grad()
def naive_state(backbone: Backbone, layer: int, text: str) -> torch.Tensor:
    """The mean over the tokens but the BOS, of one text alone."""
    ids = backbone.tokenizer(text)["input_ids"]
    model = copy.deepcopy(backbone.model)  # asked so, transformers leaves hooks on a model
    states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer + 1][0]
    start = 1 if ids[0] == backbone.tokenizer.bos_token_id and len(ids) > 1 else 0
    return states[start:].mean(0)


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    one, other = one.detach(), other.detach()
    return float(one @ other / (one.norm() * other.norm()))


def texts_of(training: Sequence[Case]) -> list[str]:
    return [case.edit.prompt for case in training[:5]] + [case.edit.questions["zh"] for case in training[:5]]


def test_a_state_is_the_mean_over_the_tokens_of_the_bare_question(tiny: Backbone, training: list[Case]) -> None:
    texts = texts_of(training)
    states = mean_states(tiny, 1, texts)
    for text, state in zip(texts, states, strict=True):
        assert torch.allclose(state, naive_state(tiny, 1, text), atol=1e-5)


def test_how_questions_are_put_does_not_matter(llama: Backbone, training: list[Case]) -> None:
    texts = texts_of(training)
    assert torch.equal(mean_states(llama.asked_in("qa"), 1, texts), mean_states(llama, 1, texts))


def test_an_unrelated_question_that_asks_for_a_fact_is_not_unrelated(training: list[Case]) -> None:
    """The Chinese training file takes its unrelated questions from the facts. A cut-off for them would be one for facts."""
    first, second, third = training[:3]
    questions = second.edit.questions
    probes = [Probe("locality", code, text, "x") for code, text in ({**questions, "de": questions["en"]}).items()]
    mixed = dataclasses.replace(first, probes=(*first.probes, *probes))
    cleaned = really_unrelated([mixed, second, third])
    assert [case.edit for case in cleaned] == [mixed.edit, second.edit, third.edit]
    assert cleaned[0].probes == (*first.probes, probes[-1]), "in another language it asks for none of them"
    assert [case.probes for case in cleaned[1:]] == [second.probes, third.probes]
    assert really_unrelated([mixed, third])[0] == mixed, "none of these is asked so"


def naive_vectors(backbone: Backbone, gate: Gate, facts: Sequence[Case], asked: Sequence[Question]) -> list[Any]:
    """By the means and deviations of the questions of some facts."""
    layer = gate.space.layer
    known = [
        (question.language, naive_state(backbone, layer, question.text)) for c in facts for question in asked_as(c)
    ]
    means = {
        code: torch.stack([state for other, state in known if other == code]).mean(0) for code in {c for c, _ in known}
    }
    deviations = torch.stack([state - means[code] for code, state in known]).square().mean(0).sqrt()
    return [gate.map @ ((naive_state(backbone, layer, q.text) - means[q.language]) / deviations) for q in asked]


def test_questions_are_compared_as_the_formula_says(llama: Backbone, training: list[Case]) -> None:
    editor = fitted(llama, training, facts=20)
    gate: Gate = editor._gate
    asked = [*asked_as(training[0]), *asked_as(training[1]), *unrelated_to(training[0])]
    assert {question.language for question in asked} == {"en", "zh"}
    naive = naive_vectors(llama, gate, training[:20], asked)
    vectors = gate.embed(llama, asked)
    for i, j in itertools.combinations(range(len(asked)), 2):
        assert float(vectors[i] @ vectors[j]) == pytest.approx(cosine(naive[i], naive[j]), abs=1e-4)


def trainings(editor: Any, backbone: Backbone, facts: Sequence[Case]) -> GateTraining:
    return editor.configure(backbone.spec).training(facts)


def test_the_loss_is_infonce_pair_by_pair(llama: Backbone, training: list[Case]) -> None:
    editor = fitted(llama, training)
    plan = trainings(editor, llama, training)
    states = cached_states(llama, plan.layer, [q.text for q in dict.fromkeys(plan.questions())])
    space = plan.space(states)
    trainee = plan.trainee(space, states)
    # Two that are asked the same: neither is far from the other.
    cases = [*training[:3], Case("twin", training[0].edit, training[1].probes)]
    vectors = {
        question: trainee.map @ space.normalized(states.of([question.text]), [question])[0]
        for case in cases
        for question in (*asked_as(case), *unrelated_to(case))
    }
    every = [(question, i) for i, case in enumerate(cases) for question in asked_as(case)]
    others = [question for case in cases for question in unrelated_to(case)]
    terms = []
    for (a, i), (b, j) in itertools.permutations(every, 2):
        if i != j:
            continue
        own = {question.text for question in asked_as(cases[i])}
        far = [question for question in [*(q for q, _ in every), *others] if question.text not in own]
        e = [math.exp(cosine(vectors[a], vectors[x]) / 0.1) for x in (b, *far)]
        terms.append(-math.log(e[0] / sum(e)))
    assert float(trainee.loss(cases).detach()) == pytest.approx(sum(terms) / len(terms), rel=1e-4)
    with torch.no_grad():
        before = trainee.validate(training[:20])["loss"]
    optimizer = trainee.optimizers[0]
    for _ in range(20):
        optimizer.zero_grad()
        trainee.backward(training[:20])
        optimizer.step()
    with torch.no_grad():
        assert trainee.validate(training[:20])["loss"] < 0.8 * before


# Cut-offs ---------------------------------------------------------------------------------------------------------------


def false_pairs(rate: float, questions: int = 40, facts: int = 30) -> FalsePairs:
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(questions, facts, generator=generator) * 2 - 1
    return FalsePairs(cosines, torch.rand(questions, facts, generator=generator) > 0.1, rate)


@pytest.mark.parametrize("n", [1, 4, 64])
def test_what_a_memory_accepts_is_the_formula(n: int) -> None:
    pairs = false_pairs(0.1)
    for cutoff in (-0.5, 0.3, 0.9):
        shares = []
        for row, counted in zip(pairs.cosines.tolist(), pairs.counted.tolist(), strict=True):
            own = [cosine >= cutoff for cosine, counts in zip(row, counted, strict=True) if counts]
            shares.append(1 - (1 - sum(own) / len(own)) ** n)
        assert pairs.accepted(cutoff, n) == pytest.approx(sum(shares) / len(shares), abs=1e-9)


def test_what_it_accepts_is_what_drawn_memories_do() -> None:
    pairs, cutoff, n = false_pairs(0.1), 0.8, 6
    generator = torch.Generator().manual_seed(1)
    accepted = 0
    for _ in range(200):
        for row, counted in zip(pairs.cosines, pairs.counted, strict=True):
            facts = row[counted]
            drawn = facts[torch.randint(len(facts), (n,), generator=generator)]
            accepted += int(drawn.max() >= cutoff)
    assert accepted / (200 * 40) == pytest.approx(pairs.accepted(cutoff, n), abs=0.02)


def test_a_cutoff_is_the_least_that_keeps_every_rate() -> None:
    kinds = [false_pairs(0.1), false_pairs(0.02)]
    cutoffs = calibrated(kinds)
    assert list(cutoffs) == sorted(cutoffs) and len(set(cutoffs[:4])) == 4
    for n, cutoff in zip(SIZES, cutoffs, strict=True):
        assert cutoff == 0.999 or all(pairs.accepted(cutoff, n) <= pairs.rate for pairs in kinds)
        assert any(pairs.accepted(cutoff - 1e-3, n) > pairs.rate for pairs in kinds)


def test_a_rate_of_one_fact_is_the_least_cutoff_of_every_memory() -> None:
    """By hand: 100 questions, of which one is at 0.9 with one of ten facts, and all others below 0.2 with all of them."""
    cosines = torch.linspace(-0.5, 0.2, 1000).reshape(100, 10)
    cosines[0, 0] = 0.9
    everything = torch.ones_like(cosines, dtype=torch.bool)
    floor = calibrated([FalsePairs(cosines, everything, 0.001, of_one=True)])
    assert floor == pytest.approx([0.2] * len(SIZES), abs=2e-3)  # one pair of a thousand may be above
    growing = FalsePairs(cosines, everything, 0.5)
    both = calibrated([growing, FalsePairs(cosines, everything, 0.001, of_one=True)])
    assert both == tuple(max(pair) for pair in zip(calibrated([growing]), floor, strict=True))


def test_without_unrelated_questions_those_about_other_facts_stand_in(llama: Backbone, training: list[Case]) -> None:
    bare = [
        dataclasses.replace(case, probes=tuple(probe for probe in case.probes if probe.property != "locality"))
        for case in training
    ]
    gate: Gate = fitted(llama, bare, others=0.5)._gate
    held_out = bare[-6:]
    asked = [question for case in held_out for question in asked_as(case) if question.language == "en"]
    keys = gate.embed(llama, [Question("en", case.edit.questions["en"]) for case in held_out])
    counted = torch.tensor([[question not in asked_as(case) for case in held_out] for question in asked])
    cosines = gate.embed(llama, asked) @ keys.T
    cutoff = gate.cutoffs.of(1, same=True)
    assert float(cosines[counted].max()) <= cutoff + 1e-3  # so few pairs that not one of them may be above
    assert FalsePairs(cosines, counted, 0.5).accepted(cutoff - 0.2, 1) < 0.5, (
        "the rate of other facts alone would be less"
    )
    assert all(gate.cutoffs.of(n, same=True) >= cutoff for n in SIZES)


def test_unrelated_questions_in_a_third_language_stand_for_those_of_both(llama: Backbone, training: list[Case]) -> None:
    elsewhere = [
        dataclasses.replace(
            case,
            probes=tuple(
                dataclasses.replace(probe, language="de") if probe.property == "locality" else probe
                for probe in case.probes
                if probe.property != "locality" or probe.language == "en"
            ),
        )
        for case in training
    ]
    editor = fitted(llama, elsewhere, others=1.0)  # so that the unrelated ones alone decide
    gate: Gate = editor._gate
    held_out = really_unrelated(elsewhere)[-6:]
    unrelated = [question for case in held_out for question in unrelated_to(case)]
    assert {question.language for question in unrelated} == {"de"} and "de" in gate.space.means
    highest = max(
        float((gate.embed(llama, unrelated) @ gate.embed(llama, [Question(code, text)]).T).max())
        for case in held_out
        for code, text in case.edit.questions.items()
    )
    for same in (True, False):
        assert gate.cutoffs.of(1, same=same) == pytest.approx(highest, abs=1e-3)


def test_without_pairs_there_is_nothing_to_accept() -> None:
    nothing = FalsePairs(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool), 0.1)
    assert nothing.accepted(-1.0, 5) == 0
    assert set(calibrated([])) == {0.0}


def test_a_memory_takes_the_cutoff_of_the_next_larger_size() -> None:
    table = tuple(i / 100 for i in range(len(SIZES)))
    cutoffs = CutOffs(table, tuple(x + 0.5 for x in table))
    assert [cutoffs.of(n, same=True) for n in (1, 2, 3, 4, 5, 65536, 10**6)] == [0, 0.01, 0.02, 0.02, 0.03, 0.16, 0.16]
    assert cutoffs.of(3, same=False) == 0.52


def test_the_cutoffs_of_a_gate_are_those_of_the_facts_that_were_held_out(llama: Backbone, training: list[Case]) -> None:
    editor = fitted(llama, training)
    gate: Gate = editor._gate
    held_out = training[-6:]
    for n in (1, 8):
        for same in (True, False):
            cutoff = gate.cutoffs.of(n, same=same)
            assert -1 <= cutoff < 1
            for kind, rate in ((asked_as, editor.others), (unrelated_to, editor.unrelated)):
                for code in ("en", "zh"):
                    asked = [q for case in held_out for q in kind(case) if (q.language == code) == same]
                    if not asked:
                        continue
                    keys = gate.embed(llama, [Question(code, case.edit.questions[code]) for case in held_out])
                    cosines = gate.embed(llama, asked) @ keys.T
                    counted = torch.tensor(
                        [[all(q.text != own.text for own in asked_as(case)) for case in held_out] for q in asked]
                    )
                    # A question in the edit's language, or in the other one.
                    assert FalsePairs(cosines, counted, rate).accepted(cutoff + 1e-4, n) <= rate
