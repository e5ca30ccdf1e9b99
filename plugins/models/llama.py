"""Checkpoints of LLaMA's kind into a plain `LlamaForCausalLM`: tensor by tensor, straight to where each belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from accelerate import dispatch_model, init_empty_weights
from accelerate.utils import set_module_tensor_to_device
from transformers import LlamaConfig, LlamaForCausalLM

from xkeb.errors import RequestError
from xkeb.models.hf.checkpoint import Checkpoint
from xkeb.models.hf.placement import Placement

Named = tuple[str, torch.Tensor]
Unpack = Callable[[str, torch.Tensor], Iterable[Named]]
"""What one tensor of a checkpoint is in LLaMA's terms: none, one or several of its parameters."""

CONFIG = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "initializer_range",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "tie_word_embeddings",
)
"""What is taken from an upstream configuration; the rest names code that isn't run."""


def llama_config(upstream: Mapping[str, Any]) -> LlamaConfig:
    """LLaMA's configuration with the numbers of an upstream one of its family."""
    values = {key: upstream[key] for key in CONFIG if upstream.get(key) is not None}
    return LlamaConfig(**{"tie_word_embeddings": False, **values})


def empty_llama(config: LlamaConfig) -> LlamaForCausalLM:
    """A model without memory for its weights; the rotary frequencies, which no checkpoint needs to hold, are there."""
    with init_empty_weights(include_buffers=False):
        return LlamaForCausalLM(config)


def plain(name: str, tensor: torch.Tensor) -> Iterator[Named]:
    """A tensor of a LLaMA checkpoint. The rotary frequencies that old ones store are made anew."""
    if not name.endswith("rotary_emb.inv_freq"):
        yield name, tensor


def read_llama(
    checkpoint: Checkpoint, config: LlamaConfig, placement: Placement, dtype: torch.dtype, unpack: Unpack = plain
) -> LlamaForCausalLM:
    """The model of a checkpoint. Beside the model itself, no more than one tensor is held in memory.

    Raises:
        RequestError: a tensor is missing, unknown or of another shape than the configuration says; or there is no room.
    """
    model = empty_llama(config)
    devices = placement.devices(model, dtype)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    missing = set(shapes)
    for stored, tensor in checkpoint.tensors():
        for name, part in unpack(stored, tensor):
            if name not in shapes:
                raise RequestError(f"{checkpoint.folder} holds {stored!r}, which is no part of a LLaMA model.")
            if part.shape != shapes[name]:
                raise RequestError(
                    f"{stored!r} in {checkpoint.folder} has the shape {[*part.shape]}, "
                    f"where its configuration says {[*shapes[name]]}."
                )
            # A copy: the file's memory is let go, and no two parameters share theirs.
            value = part.to(devices.of(name), dtype, copy=True)
            set_module_tensor_to_device(model, name, value.device, value=value, dtype=dtype)
            missing.discard(name)
    if missing:
        raise RequestError(
            f"{checkpoint.folder} lacks {len(missing)} of the {len(shapes)} tensors of its model, {min(missing)!r} among them."
        )
    spread: LlamaForCausalLM = dispatch_model(model, device_map=dict(devices.map))
    return spread
