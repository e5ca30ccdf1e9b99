"""SERAC's counterfactual model: what it is shown, and what it learns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from plain_answers import split
from transformers import AutoModelForCausalLM

from xkeb.types import Case, Edit, Probe
from xkeb_plugins.methods.serac.counterfactual import CounterfactualTrainee, load_counterfactual, shown

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_its_loss_and_gradient_are_those_of_each_text_alone(
    family: str, tiny_folders: Mapping[str, Path], training: list[Case]
) -> None:
    chinese = Case(
        "zh", Edit("法国的首都是哪里？", "里昂", "zh"), (Probe("generality", "zh", "法国的首都是哪里？", "里昂"),)
    )
    cases = [*training[:2], chinese]
    backbone = load_counterfactual(str(tiny_folders[family]), CPU)
    trainee = CounterfactualTrainee(backbone, 1e-3, group=2, freeze_embeddings=False)
    for parameter in trainee.module.parameters():
        parameter.requires_grad_()
    losses = trainee.backward(cases)

    model = AutoModelForCausalLM.from_pretrained(tiny_folders[family])
    of_facts = []
    for case in cases:
        joiner = "" if case.edit.language == "zh" else " "
        context = f"{case.edit.prompt}{joiner}{case.edit.target} "
        of_questions = []
        for question in (case.edit.prompt, case.probes[0].prompt):
            given, said = split(backbone, context + question, case.edit.target, case.edit.language)
            assert str(backbone.tokenizer.decode(said)).strip() == case.edit.target
            log = model(torch.tensor([given + said])).logits[0].log_softmax(-1)
            nll = [-log[len(given) - 1 + i, token] for i, token in enumerate(said)]
            of_questions.append(torch.stack(nll).mean())
        of_facts.append(torch.stack(of_questions).mean())
    loss = torch.stack(of_facts).mean()
    assert losses["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert trainee.validate(cases) == pytest.approx(losses, rel=1e-5)
    loss.backward()
    expected = dict(model.named_parameters())
    for name, parameter in trainee.module.named_parameters():
        wanted = expected[name.replace("/", ".")].grad
        assert parameter.grad is not None and wanted is not None
        assert torch.allclose(parameter.grad, wanted, rtol=1e-3, atol=1e-5), name


def test_what_it_is_shown_is_the_edit_in_its_own_language() -> None:
    assert shown(Edit("What is the capital of France?", "Lyon", "en")) == "What is the capital of France? Lyon "
    assert shown(Edit("法国的首都是哪里？", "里昂", "zh")) == "法国的首都是哪里？里昂 "
