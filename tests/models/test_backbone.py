"""What makes a backbone of a model: nothing is changed until it is prepared, and an answer is joined as its language is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import tiny_model
from torch import nn
from transformers import PreTrainedModel

from xkeb.models.backbone import Backbone
from xkeb.models.onednn import OneDnnLinear
from xkeb.registry.manager import get_plugins
from xkeb.testing.small import small_tokenizer


def look(model: PreTrainedModel) -> dict[str, Any]:
    """The class and the mode of each module, and of each parameter its bits and whether it is trained."""
    found: dict[str, Any] = {f"module {path}": (type(m), m.training) for path, m in model.named_modules()}
    for name, parameter in model.named_parameters():
        bits = parameter.detach().view(torch.uint8).numpy().tobytes()
        found[f"parameter {name}"] = (id(parameter), parameter.requires_grad, bits)
    return found


def test_the_constructor_changes_nothing_of_the_model() -> None:
    tokenizer = small_tokenizer()
    model = tiny_model("llama", len(tokenizer)).train()
    model.lm_head.weight.requires_grad_(False)
    before = look(model)
    backbone = Backbone("mine", model, tokenizer, "0" * 64)
    assert backbone.model is model and look(model) == before
    assert model.training and model.model.norm.weight.requires_grad
    assert not any(isinstance(module, OneDnnLinear) for module in model.modules())


def test_prepared_it_takes_no_gradients_and_its_products_are_fast() -> None:
    tokenizer = small_tokenizer()
    model = tiny_model("llama", len(tokenizer)).train()
    weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    backbone = Backbone("mine", model, tokenizer, "0" * 64)
    assert backbone.prepare() is backbone
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert linear and all(type(module) is OneDnnLinear for module in linear)
    assert all(torch.equal(parameter, weights[name]) for name, parameter in model.named_parameters())


def test_an_answer_needs_its_language(llama: Backbone) -> None:
    with pytest.raises(TypeError, match="needs the language of the answer"):
        llama.encode("Who?", "Ada")
    with pytest.raises(TypeError, match="needs the language of the answer"):
        llama.encode("Who?", "Ada", None)
    assert llama.encode("Who?") == llama.encode("Who?", "", "en") == llama.encode("Who?", language="zh")


def test_a_language_may_be_given_by_its_code_or_itself(llama: Backbone) -> None:
    chinese = get_plugins().languages.get("zh")
    assert llama.encode("谁？", "阿达", "zh") == llama.encode("谁？", "阿达", chinese)
    assert llama.encode("Who?", "Ada", "zh") != llama.encode("Who?", "Ada", "en")
