"""SERAC's scope classifier: which questions an edit concerns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit, Probe, Query
from xkeb_plugins.methods.serac.change import Router
from xkeb_plugins.methods.serac.scope import Measure, ScopeTrainee, load_encoder

CPU = torch.device("cpu")


def naive_embedding(folder: Path, text: str) -> list[float]:
    """What the encoder's last layer says at the first token of a text alone."""
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 0].tolist()


def naive_similarity(one: Sequence[float], other: Sequence[float], *, cos: bool, square: bool, bound: bool) -> float:
    if bound:
        one, other = [math.tanh(x) for x in one], [math.tanh(x) for x in other]
    if cos:
        norms = math.sqrt(sum(x * x for x in one)) * math.sqrt(sum(x * x for x in other))
        return math.exp(-(1 - sum(x * y for x, y in zip(one, other, strict=True)) / norms))
    squared = sum((x - y) ** 2 for x, y in zip(one, other, strict=True))
    return math.exp(-(squared if square else math.sqrt(squared)))


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize(("cos", "square"), [(False, True), (False, False), (True, True)])
def test_similarity_is_the_formula(cos: bool, square: bool, bound: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(3, 5, generator=generator) * 0.5 for _ in range(2))
    found = torch.exp(-Measure(cos, square, bound).distance(one.unsqueeze(1), other.unsqueeze(0)))
    for i in range(3):
        for j in range(3):
            naive = naive_similarity(one[i].tolist(), other[j].tolist(), cos=cos, square=square, bound=bound)
            assert float(found[i, j]) == pytest.approx(naive, abs=1e-5)


def test_an_embedding_does_not_depend_on_the_batch(tiny_bert: Path, training: list[Case]) -> None:
    texts = ["Who?", *(case.edit.prompt for case in training), "Who?", "法国的首都是哪里？" * 30]
    vectors = load_encoder(str(tiny_bert), CPU).embed(texts)
    assert set(vectors) == set(texts)
    for text in (texts[0], texts[3], texts[-1]):
        assert vectors[text].tolist() == pytest.approx(naive_embedding(tiny_bert, text), abs=1e-5)


def test_questions_are_routed_to_the_nearest_edit_where_it_is_near_enough(
    tiny_bert: Path, llama: Backbone, training: list[Case]
) -> None:
    facts = [case.edit for case in training[:6]]
    memories = [facts[:1], facts[1:4], facts]
    asked = [probe.prompt for case in training[:8] for probe in case.probes] + [facts[2].prompt]
    alike = {
        (fact.prompt, text): naive_similarity(
            naive_embedding(tiny_bert, fact.prompt),
            naive_embedding(tiny_bert, text),
            cos=False,
            square=False,
            bound=True,
        )
        for fact in facts
        for text in asked
    }
    threshold = sorted(alike.values())[int(len(alike) * 0.8)] + 1e-4
    router = Router(load_encoder(str(tiny_bert), CPU), Measure(False, False, True), llama, threshold, {}, ())
    outcomes = set()
    for memory in memories:
        questions = [Query(text, "Lyon", "en") for text in asked]
        for text, route in zip(asked, router.delegates([memory] * len(asked), questions), strict=True):
            best = max(memory, key=lambda fact: alike[fact.prompt, text])
            if alike[best.prompt, text] < threshold:
                assert route is None
            else:
                assert route is not None and route.backbone is llama
                assert route.context == f"{best.prompt} {best.target} "
            outcomes.add(route is None)
    assert outcomes == {True, False}


def with_doubles(training: Sequence[Case]) -> list[Case]:
    """Facts as dirty as real ones: a question asked by two, and an unrelated question that is its own fact's."""
    first, second, third = training[:3]
    twin = Case("twin", Edit(first.edit.prompt, "Rome", "en"), second.probes)
    confused = Case("confused", third.edit, (third.probes[0], Probe("locality", "en", third.edit.prompt, "Rome")))
    return [first, second, twin, confused]


def test_its_loss_and_gradient_are_those_of_binary_cross_entropy_pair_by_pair(
    tiny_bert: Path, training: list[Case]
) -> None:
    cases = with_doubles(training)
    encoder = load_encoder(str(tiny_bert), CPU)
    trainee = ScopeTrainee(encoder, Measure(False, False, True), 1e-3, group=4, freeze_embeddings=False)
    for parameter in trainee.module.parameters():
        parameter.requires_grad_()
    losses = trainee.backward(cases)

    model, tokenizer = AutoModel.from_pretrained(tiny_bert), AutoTokenizer.from_pretrained(tiny_bert)

    def g(one: str, other: str) -> torch.Tensor:
        a, b = (model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 0].tanh() for text in (one, other))
        return torch.exp(-(a - b).square().sum().sqrt())

    inside = [-torch.log(g(case.edit.prompt, case.probes[0].prompt)) for case in cases]  # the rephrase comes first
    outside = []
    for case in cases:
        others = [other.edit.prompt for other in cases] + [case.probes[1].prompt]
        outside += [-torch.log(1 - g(case.edit.prompt, text)) for text in others if text != case.edit.prompt]
    assert len(outside) == 4 * 3 - 2 + 3
    in_scope, out_of_scope = torch.stack(inside).mean(), torch.stack(outside).mean()
    assert losses == pytest.approx(
        {
            "loss": (in_scope + out_of_scope).item(),
            "in_scope": in_scope.item(),
            "out_of_scope": out_of_scope.item(),
        },
        rel=1e-4,
    )
    assert trainee.validate(cases) == pytest.approx(losses, rel=1e-6)
    (in_scope + out_of_scope).backward()
    expected = dict(model.named_parameters())
    for name, parameter in trainee.module.named_parameters():
        gradient = expected[name.replace("/", ".")].grad
        assert gradient is not None and parameter.grad is not None, name
        assert torch.allclose(parameter.grad, gradient, atol=1e-4), name


def test_facts_that_all_ask_the_same_give_no_infinite_loss(tiny_bert: Path) -> None:
    """As where every record is the same question: nothing is out of scope."""
    probes = (Probe("generality", "en", "Who is it?", "Ada"), Probe("locality", "en", "Who?", "Bob"))
    case = Case("0", Edit("Who?", "Ada", "en"), probes)
    trainee = ScopeTrainee(load_encoder(str(tiny_bert), CPU), Measure(), 1e-3, group=4, freeze_embeddings=False)
    losses = trainee.validate([case, case])
    assert math.isfinite(losses["loss"]) and losses["out_of_scope"] == 0
