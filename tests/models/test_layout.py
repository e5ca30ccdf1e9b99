"""Where things stand in a model of any family, found from the model itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_model
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
)

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.layout import Layout, as_stored, find_layout, widths
from xkeb.testing.small import small_tokenizer

SMALL: dict[str, Any] = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
GATED: dict[str, Any] = {
    "decoder": "model",
    "layers": "model.layers",
    "up_proj": ("mlp.gate_proj", "mlp.up_proj"),
    "down_proj": "mlp.down_proj",
    "norm": "model.norm",
    "head": "lm_head",
    "hidden_size": 32,
    "mixers": tuple(f"self_attn.{name}_proj" for name in "qkvo"),
}
GPT2: dict[str, Any] = {
    "decoder": "transformer",
    "layers": "transformer.h",
    "up_proj": ("mlp.c_fc",),
    "down_proj": "mlp.c_proj",
    "norm": "transformer.ln_f",
    "head": "lm_head",
    "hidden_size": 32,
    "mixers": ("attn.c_attn", "attn.c_proj"),
}


def qwen2() -> PreTrainedModel:
    return Qwen2ForCausalLM(Qwen2Config(**SMALL, num_key_value_heads=2, intermediate_size=72))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (tiny_model("llama", 50), Layout(**GATED, n_layers=6, intermediate_size=80)),
        (
            tiny_model("gemma3", 50),
            Layout(**GATED, n_layers=6, intermediate_size=80, mlp_norm="post_feedforward_layernorm"),
        ),
        (qwen2(), Layout(**GATED, n_layers=3, intermediate_size=72)),
        (tiny_model("gpt2", 50), Layout(**GPT2, n_layers=4, intermediate_size=128)),
    ],
    ids=["llama", "gemma3", "qwen2", "gpt2"],
)
def test_the_layout_of_each_family_is_found(model: PreTrainedModel, expected: Layout) -> None:
    assert find_layout(model) == expected


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_every_path_leads_to_a_module_of_the_right_width(family: str) -> None:
    model = tiny_model(family, 50)
    layout = find_layout(model)
    stack = model.get_submodule(layout.layers)
    assert isinstance(stack, torch.nn.ModuleList)
    assert model.get_submodule(layout.decoder) is model.get_decoder()
    assert model.get_submodule(layout.head) is model.get_output_embeddings()
    assert model.get_submodule(layout.norm or "")(model.get_input_embeddings().weight).shape == (50, layout.hidden_size)
    for index in range(layout.n_layers):
        layer = model.get_submodule(layout.layer(index))
        assert layer is stack[index]
        assert model.get_submodule(layout.down(index)) is layer.get_submodule(layout.down_proj)
        assert widths(model.get_submodule(layout.down(index))) == (layout.intermediate_size, layout.hidden_size)
        assert [model.get_submodule(path) for path in layout.ups(index)] == [
            layer.get_submodule(path) for path in layout.up_proj
        ]
        for path in layout.ups(index):
            assert widths(model.get_submodule(path)) == (layout.hidden_size, layout.intermediate_size)


def test_a_matrix_is_stored_the_way_its_module_multiplies() -> None:
    for family in ("llama", "gpt2"):
        model = tiny_model(family, 50)
        layout = find_layout(model)
        module = model.get_submodule(layout.down(0))
        weight = model.get_parameter(f"{layout.down(0)}.weight")
        matrix = weight.new_zeros(layout.hidden_size, layout.intermediate_size)
        assert as_stored(module, matrix).shape == weight.shape


@pytest.mark.parametrize(
    ("model", "down", "ups"),
    [
        (
            LlamaForCausalLM(LlamaConfig(**SMALL, intermediate_size=32)),
            "mlp.down_proj",
            ("mlp.gate_proj", "mlp.up_proj"),
        ),
        (
            GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_inner=32)),
            "mlp.c_proj",
            ("mlp.c_fc",),
        ),
    ],
    ids=["llama", "gpt2"],
)
def test_an_mlp_as_wide_as_the_model_is_told_apart_by_name(
    model: PreTrainedModel, down: str, ups: tuple[str, ...]
) -> None:
    layout = find_layout(model)
    assert (layout.down_proj, layout.up_proj) == (down, ups)
    assert layout.hidden_size == layout.intermediate_size == 32


@pytest.mark.parametrize(
    "model",
    [
        MixtralForCausalLM(MixtralConfig(**SMALL, num_key_value_heads=2, intermediate_size=64, num_local_experts=4)),
        Qwen2MoeForCausalLM(
            Qwen2MoeConfig(
                **SMALL,
                num_key_value_heads=2,
                intermediate_size=64,
                moe_intermediate_size=48,
                shared_expert_intermediate_size=56,
                num_experts=4,
            )
        ),
        Qwen2MoeForCausalLM(
            Qwen2MoeConfig(
                **SMALL,
                num_key_value_heads=2,
                intermediate_size=64,
                moe_intermediate_size=48,
                shared_expert_intermediate_size=56,
                num_experts=4,
                mlp_only_layers=[0],
            )
        ),
    ],
    ids=["mixtral", "qwen2-moe", "qwen2-moe-from-the-second-layer-on"],
)
def test_a_mixture_of_experts_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(RequestError) as refused:
        find_layout(model)
    assert type(model).__name__ in str(refused.value)
    assert "experts" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_encoder_only_model_is_refused() -> None:
    model = BertForMaskedLM(BertConfig(**SMALL, intermediate_size=64))
    with pytest.raises(RequestError, match=r"^BertForMaskedLM .*\.$") as refused:
        find_layout(model)
    assert "\n" not in str(refused.value)


def test_an_encoder_only_folder_is_refused(tmp_path: Path) -> None:
    import xkeb

    tokenizer = small_tokenizer()
    BertForMaskedLM(BertConfig(**{**SMALL, "vocab_size": len(tokenizer)}, intermediate_size=64)).save_pretrained(
        tmp_path
    )
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(RequestError) as refused:
        xkeb.load_backbone("hf", path=str(tmp_path), device="cpu")
    assert "\n" not in str(refused.value)


def test_a_tokenizer_without_offsets_is_refused() -> None:
    from transformers import CanineTokenizer

    with pytest.raises(RequestError, match="CanineTokenizer"):
        Backbone("slow", tiny_model("llama", 50), CanineTokenizer(), "0" * 64)
