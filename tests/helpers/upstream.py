"""Tiny random checkpoints in the formats in which the paper's backbones were published: the same files, names, shapes, kinds of
tensors and configurations, with the vocabularies in full, and four narrow layers instead of 32 wide ones."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2
from torch.nn import functional as F

WIDTH, MLP, LAYERS, HEADS = 32, 80, 4, 4
Tensors = dict[str, torch.Tensor]

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": WIDTH,
    "initializer_range": 0.02,
    "intermediate_size": MLP,
    "max_position_embeddings": 4096,
    "model_type": "llama",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-05,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.31.0",
    "use_cache": True,
    "vocab_size": 55296,
}
BAICHUAN = {
    **LLAMA,
    "architectures": ["BaiChuanForCausalLM"],
    "auto_map": {
        "AutoConfig": "configuration_baichuan.BaiChuanConfig",
        "AutoModelForCausalLM": "modeling_baichuan.BaiChuanForCausalLM",
    },
    "model_type": "baichuan",
    "rms_norm_eps": 1e-06,
    "vocab_size": 64000,
}
BAICHUAN2 = {
    **BAICHUAN,
    "_from_model_config": True,
    "architectures": ["BaichuanForCausalLM"],
    "auto_map": {
        "AutoConfig": "configuration_baichuan.BaichuanConfig",
        "AutoModelForCausalLM": "modeling_baichuan.BaichuanForCausalLM",
    },
    "model_max_length": 4096,
    "torch_dtype": "bfloat16",
    "vocab_size": 125696,
    "z_loss_weight": 0,
}
LORA: dict[str, Any] = {
    "base_model_name_or_path": "hf_weights/llama-7b",
    "bias": "none",
    "enable_lora": None,
    "fan_in_fan_out": False,
    "inference_mode": True,
    "lora_alpha": 32,
    "lora_dropout": 0.1,
    "merge_weights": False,
    "modules_to_save": ["embed_tokens", "lm_head"],
    "peft_type": "LORA",
    "r": 8,
    "target_modules": ["q_proj", "v_proj", "k_proj", "o_proj", "gate_proj", "down_proj", "up_proj"],
    "task_type": "CAUSAL_LM",
}


# Tokenizers ------------------------------------------------------------------------------------------------------------------


def sentencepieces(texts: Iterable[str], size: int, *, dummy_prefix: bool) -> Any:
    """A SentencePiece model as Meta and Baichuan trained theirs: BPE, bytes for what is unknown, digits one by one, the text as
    it is."""
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=written,
        model_type="bpe",
        vocab_size=size,
        byte_fallback=True,
        character_coverage=0.995,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=dummy_prefix,
        minloglevel=2,
    )
    model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined] # protobuf makes it when it is imported
    model.ParseFromString(written.getvalue())
    return model


def extend(model: Any, other: Any) -> Any:
    """As the Chinese LLaMAs' vocabularies were made: another model's pieces after one's own, all of score 0."""
    known = {piece.piece for piece in model.pieces}
    for piece in other.pieces:
        if piece.piece not in known:
            model.pieces.add(piece=piece.piece, score=0.0)
    return model


def fill_up(model: Any, size: int) -> Any:
    """As many pieces as the release has; the rest stand for what no text holds."""
    model.pieces.extend(
        type(model).SentencePiece(piece=f"\ue000{i}", score=-1e6) for i in range(len(model.pieces), size)
    )
    return model


def by_language(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """(English, Chinese)"""
    chosen: tuple[list[str], list[str]] = ([], [])
    for text in texts:
        chosen[any("\u4e00" <= character <= "\u9fff" for character in text)].append(text)
    return chosen


# Weights ---------------------------------------------------------------------------------------------------------------------


def weights(config: dict[str, Any], *, fused: bool, seed: int = 0) -> Tensors:
    """Random tensors under their published names."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.15

    tensors = {"model.embed_tokens.weight": random(config["vocab_size"], WIDTH)}
    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        if fused:
            tensors[f"{layer}.self_attn.W_pack.weight"] = random(3 * WIDTH, WIDTH)
        else:
            tensors |= {f"{layer}.self_attn.{part}_proj.weight": random(WIDTH, WIDTH) for part in "qkv"}
        tensors |= {
            f"{layer}.self_attn.o_proj.weight": random(WIDTH, WIDTH),
            f"{layer}.self_attn.rotary_emb.inv_freq": inverse_frequencies(),
            f"{layer}.mlp.gate_proj.weight": random(MLP, WIDTH),
            f"{layer}.mlp.up_proj.weight": random(MLP, WIDTH),
            f"{layer}.mlp.down_proj.weight": random(WIDTH, MLP),
            f"{layer}.input_layernorm.weight": 1 + random(WIDTH),
            f"{layer}.post_attention_layernorm.weight": 1 + random(WIDTH),
        }
    tensors |= {"model.norm.weight": 1 + random(WIDTH), "lm_head.weight": random(config["vocab_size"], WIDTH)}
    kind = getattr(torch, config["torch_dtype"])
    return {name: tensor if "inv_freq" in name else tensor.to(kind) for name, tensor in tensors.items()}


def inverse_frequencies() -> torch.Tensor:
    return 1 / 10000 ** (torch.arange(0, WIDTH // HEADS, 2) / (WIDTH // HEADS))


# Folders ---------------------------------------------------------------------------------------------------------------------


def write(
    folder: Path,
    config: dict[str, Any],
    tensors: Tensors,
    pieces: Any,
    settings: dict[str, Any],
    shards: int,
    ending: str,
) -> Path:
    """A released folder. Of one shard it has no index."""
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config)
    write_tokenizer(folder, pieces, settings)
    stem = {"bin": "pytorch_model", "safetensors": "model"}[ending]
    names = list(tensors)
    if shards == 1:
        _save(tensors, folder / f"{stem}.{ending}")
        return folder
    placed = {
        name: f"{stem}-{1 + i * shards // len(names):05d}-of-{shards:05d}.{ending}" for i, name in enumerate(names)
    }
    for file in sorted(set(placed.values())):
        _save({name: tensors[name] for name in names if placed[name] == file}, folder / file)
    n_bytes = sum(tensor.nbytes for tensor in tensors.values())
    write_json(folder / f"{stem}.{ending}.index.json", {"metadata": {"total_size": n_bytes}, "weight_map": placed})
    return folder


def write_lora(folder: Path, base: Tensors, vocabulary: int, pieces: Any, settings: dict[str, Any]) -> Tensors:
    """The LoRA as it was published, with whole embeddings and a whole head; the merged weights."""
    folder.mkdir(parents=True)
    write_json(folder / "adapter_config.json", LORA)
    write_tokenizer(folder, pieces, settings)
    generator = torch.Generator().manual_seed(1)
    adapter: Tensors = {}
    merged = {name: tensor.float() for name, tensor in base.items()}
    rank, scale = LORA["r"], LORA["lora_alpha"] / LORA["r"]
    for name in base:
        path = name.removesuffix(".weight")
        if path.rpartition(".")[-1] in LORA["target_modules"]:
            rows, columns = base[name].shape
            a, b = (
                torch.randn(rank, columns, generator=generator) * 0.05,
                torch.randn(rows, rank, generator=generator) * 0.05,
            )
            adapter |= {
                f"base_model.model.{path}.lora_A.weight": a.half(),
                f"base_model.model.{path}.lora_B.weight": b.half(),
            }
            merged[name] = merged[name] + scale * b.half().float() @ a.half().float()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        merged[name] = (torch.randn(vocabulary, WIDTH, generator=generator) * 0.15).half().float()
        adapter[f"base_model.model.{name}"] = merged[name].half()
    torch.save(adapter, folder / "adapter_model.bin")
    return merged


def write_tokenizer(folder: Path, pieces: Any, settings: dict[str, Any]) -> None:
    (folder / "tokenizer.model").write_bytes(pieces.SerializeToString())
    write_json(folder / "tokenizer_config.json", settings)
    special = {key: value for key, value in settings.items() if key.endswith("_token") and isinstance(value, dict)}
    write_json(folder / "special_tokens_map.json", special)


def special(content: str) -> dict[str, Any]:
    """A special token as tokenizers of 2023 write it."""
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    return {"__type": "AddedToken", "content": content, **flags}


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")


def _save(tensors: Tensors, file: Path) -> None:
    if file.suffix == ".safetensors":
        save_file(tensors, file, metadata={"format": "pt"})
    else:
        torch.save(tensors, file)


# The forward pass ------------------------------------------------------------------------------------------------------------


def forward(tensors: Tensors, ids: Sequence[int], eps: float, *, unit_rows: bool = False) -> torch.Tensor:
    """Logits [positions, vocabulary] of published tensors, in float32, written from the formulae: RMSNorm, one matrix for
    query, key and value or three, rotary positions, causal attention, SwiGLU, and a head whose rows are of length one or as
    they are."""
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    count, size = len(ids), WIDTH // HEADS

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * tensors[f"{name}.weight"]

    angles = torch.arange(count)[:, None] * inverse_frequencies()[None]
    turn = torch.polar(torch.ones_like(angles), angles)  # [positions, size / 2]

    def rotate(x: torch.Tensor) -> torch.Tensor:  # coordinate j turns with coordinate j + size / 2
        turned = torch.complex(x[..., : size // 2], x[..., size // 2 :]) * turn[:, None]
        return torch.cat([turned.real, turned.imag], -1)

    x = tensors["model.embed_tokens.weight"][list(ids)]
    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        inner = norm(x, f"{layer}.input_layernorm")
        fused = tensors.get(f"{layer}.self_attn.W_pack.weight")
        if fused is None:
            fused = torch.cat([tensors[f"{layer}.self_attn.{part}_proj.weight"] for part in "qkv"])
        q, k, v = (inner @ fused.T).view(count, 3, HEADS, size).unbind(1)
        scores = torch.einsum("qhd,khd->hqk", rotate(q), rotate(k)) / size**0.5
        scores = scores.masked_fill(torch.ones(count, count).triu(1).bool(), -torch.inf)
        mixed = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).reshape(count, WIDTH)
        x = x + mixed @ tensors[f"{layer}.self_attn.o_proj.weight"].T
        inner = norm(x, f"{layer}.post_attention_layernorm")
        gate = F.silu(inner @ tensors[f"{layer}.mlp.gate_proj.weight"].T)
        x = x + (gate * (inner @ tensors[f"{layer}.mlp.up_proj.weight"].T)) @ tensors[f"{layer}.mlp.down_proj.weight"].T
    head = tensors["lm_head.weight"]
    return norm(x, "model.norm") @ (head / head.norm(dim=1, keepdim=True) if unit_rows else head).T
