"""A tiny random model of every family of causal language models that the installed transformers knows."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

FAMILIES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)

LAYERS, WIDTH, MLP, HEADS, POSITIONS = 4, 32, 80, 4, 512

SIZES: dict[str, Any] = {
    # what nearly all have
    "hidden_size": WIDTH,
    "d_model": WIDTH,
    "intermediate_size": MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.15,
    "init_std": 0.15,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    # encoders and decoders
    "encoder_layers": 1,
    "decoder_layers": LAYERS,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "encoder_ffn_dim": MLP,
    "decoder_ffn_dim": MLP,
    "num_encoder_layers": 1,
    "num_decoder_layers": LAYERS,
    "num_encoder_attention_heads": HEADS,
    "num_decoder_attention_heads": HEADS,
    "max_target_positions": POSITIONS,
    "decoder_start_token_id": 2,
    # experts
    "num_experts": 4,
    "n_routed_experts": 4,
    "num_local_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 40,
    "shared_expert_intermediate_size": 40,
    "expert_ffn_hidden_size": 40,
    "zero_expert_num": 2,
    "n_group": 1,
    "topk_group": 1,
    # compressed keys and values
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "index_head_dim": 8,
    "index_n_heads": 2,
    # recurrences and convolutions
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_head_dim": 8,
    "linear_num_heads": 4,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 16,
    "mamba_d_ssm": 64,
    "mamba_num_heads": 8,
    "mamba_head_dim": 8,
    "mamba_n_groups": 1,
    "n_mamba_heads": 2,
    "ssm_state_size": 16,
    "state_size": 16,
    "lru_width": WIDTH,
    # other names of the same
    "ffn_dim": MLP,
    "ffn_hidden_size": MLP,
    "feed_forward_size": MLP,
    "intermediate_size_mlp": MLP,
    "dense_intermediate_size": MLP,
    "shared_intermediate_size": MLP,
    "n_inner": MLP,
    "dff": MLP,
    "dim_ff": MLP,
    "d_inner": MLP,
    "dim_head": 8,
    "kv_channels": 8,
    "num_heads": HEADS,
    "rotary_dim": 4,
    "attention_head_size": 8,
    "embedding_size": WIDTH,
    "embedding_dim": WIDTH,
    "input_embedding_size": WIDTH,
    "output_embedding_size": WIDTH,
    # beside the text
    "vocab_size_per_layer_input": 1000,
    "hidden_size_per_layer_input": 8,
    "pronunciation_vocab_size": 10,
    "pronunciation_embed_dim": 8,
    "shape_vocab_size": 10,
    "shape_embed_dim": 8,
    "encoder_hash_byte_group_vocab": 100,
}
"""Small values of the options of configurations, by their common names; `vocab_size` is the tokenizer's."""

OWN: dict[str, dict[str, Any]] = {
    "gpt_neo": {"attention_types": [[["global", "local"], LAYERS // 2]]},
    "mamba2": {"num_heads": 8, "n_groups": 1},
    "inkling_text": {"swa_head_dim": 8, "swa_num_attention_heads": HEADS, "swa_num_key_value_heads": 2},
    "inkling2_text": {"swa_head_dim": 8, "swa_num_attention_heads": HEADS, "swa_num_key_value_heads": 2},
    "reformer": {"is_decoder": True, "attn_layers": ["local"] * LAYERS, "axial_pos_embds": False},
    "zaya": {"num_experts_per_tok": 1},
    "longcat_flash": {"num_layers": LAYERS},
    "minicpm3": {"num_key_value_heads": HEADS},
    "youtu": {"num_key_value_heads": HEADS},
    "dots3_note_text": {"num_key_value_heads": HEADS},
    "gemma3n_text": {"num_kv_shared_layers": 0, "layer_types": None},
    "dots1": {"n_shared_experts": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * (LAYERS // 2)},
    "zamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"] * (LAYERS // 2)},
    "bamba": {"attn_layer_indices": [1, 3]},
}
"""What a family's sizes must be besides, by `model_type`."""


NOT_MADE = {
    "cohere_compass_text": "not tried: its configuration alone makes no model (its rotary parameters come with a checkpoint)",
    "dbrx": "not tried: its configuration alone makes no model (a mixture of experts)",
    "dots3_note": "not tried: its layers are described one by one, so it has no small configuration",
    "dots3_note_text": "not tried: its layers are described one by one, so it has no small configuration",
    "gemma3n": "not tried: its image encoder needs timm; its text model is gemma3n_text",
    "gemma4_assistant": "not tried: it drafts for another model, whose keys and values it reads",
    "gemma4_unified_assistant": "not tried: it drafts for another model, whose keys and values it reads",
    "musicgen": "not tried: it speaks codes of sound, not text",
    "musicgen_melody": "not tried: it speaks codes of sound, not text",
    "qwen4_exp": "not tried: its configuration alone makes no model (its n-gram tables come with a checkpoint)",
    "qwen4_exp_text": "not tried: its configuration alone makes no model (its n-gram tables come with a checkpoint)",
    "zamba": "not tried: its layers share weights in a pattern that four layers don't have; they are Mamba's",
}
"""Families whose tiny model can't be made of a configuration, and why."""


def tiny_config(cls: type[PreTrainedConfig], vocabulary: int) -> PreTrainedConfig:
    """The family's own configuration with small sizes."""
    common = {own: name for name, own in cls.attribute_map.items()}
    sizes = {**SIZES, "vocab_size": vocabulary}
    options = {}
    for field in dataclasses.fields(cls):
        name = common.get(field.name, field.name)
        if name in sizes:
            options[field.name] = sizes[name]
    options |= OWN.get(cls.model_type, {})
    if cls.sub_configs:
        usual = cls()
        for name in cls.sub_configs:
            part = getattr(usual, name, None)
            if isinstance(part, PreTrainedConfig):
                options[name] = tiny_config(type(part), vocabulary)
    return cls(**options)


def tiny_family(family: str, vocabulary: int) -> PreTrainedModel:
    """A random model of a family, in float32."""
    config = tiny_config(CONFIG_MAPPING[family], vocabulary)
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model
