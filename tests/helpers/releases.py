"""The paper's backbones in the published formats, written once for a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import upstream
from upstream import BAICHUAN, BAICHUAN2, LLAMA, Tensors, special

from xkeb.testing.small import corpus


@dataclass(frozen=True)
class Release:
    """A written checkpoint, and what it should compute."""

    name: str
    options: dict[str, Any]
    tensors: Tensors
    eps: float
    unit_rows: bool = False


@pytest.fixture(scope="session")
def chinese_pieces() -> Callable[[int], Any]:
    """Tokenizers of the Chinese LLaMAs: pieces learnt from English, and Chinese ones after them."""
    english, chinese = upstream.by_language(corpus())

    def build(size: int) -> Any:
        ours = upstream.sentencepieces(english, 700, dummy_prefix=True)
        more = upstream.sentencepieces(chinese, 1400, dummy_prefix=True)
        return upstream.fill_up(upstream.extend(ours, more), size)

    return build


@pytest.fixture(scope="session")
def baichuan_pieces() -> Callable[[int], Any]:
    def build(size: int) -> Any:
        return upstream.fill_up(upstream.sentencepieces(corpus(), 1800, dummy_prefix=False), size)

    return build


@pytest.fixture(scope="session")
def releases(
    tmp_path_factory: pytest.TempPathFactory,
    chinese_pieces: Callable[[int], Any],
    baichuan_pieces: Callable[[int], Any],
) -> dict[str, Release]:
    root = tmp_path_factory.mktemp("published")
    tokens = {"bos_token": special("<s>"), "eos_token": special("</s>"), "unk_token": special("<unk>")}
    llama = {
        "add_bos_token": True,
        "add_eos_token": False,
        "legacy": True,
        "tokenizer_class": "LlamaTokenizer",
        **tokens,
    }
    baichuan = {"add_bos_token": False, "add_eos_token": False, "tokenizer_class": "BaiChuanTokenizer", **tokens}
    made = {}

    tensors = upstream.weights(LLAMA, fused=False)
    folder = upstream.write(root / "llama2", LLAMA, tensors, chinese_pieces(55296), llama, 2, "bin")
    made["chinese-llama-2-7b"] = Release("chinese-llama-2-7b", {"path": str(folder)}, tensors, 1e-5)

    config = {**LLAMA, "vocab_size": 49953, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6}
    tensors = upstream.weights(config, fused=False)
    folder = upstream.write(root / "plus", config, tensors, chinese_pieces(49953), llama, 3, "safetensors")
    made["merged"] = Release("chinese-llama-plus-7b", {"path": str(folder)}, tensors, 1e-6)

    config = {**config, "vocab_size": 32000}
    base = upstream.weights(config, fused=False, seed=2)
    english, _ = upstream.by_language(corpus())
    pieces = upstream.fill_up(upstream.sentencepieces(english, 700, dummy_prefix=True), 32000)
    folder = upstream.write(root / "base", config, base, pieces, llama, 2, "bin")
    merged = upstream.write_lora(root / "lora", base, 49953, chinese_pieces(49953), llama)
    options = {"base": str(folder), "lora": str(root / "lora")}
    made["lora"] = Release("chinese-llama-plus-7b", options, merged, 1e-6)

    tensors = upstream.weights(BAICHUAN, fused=True)
    folder = upstream.write(root / "baichuan", BAICHUAN, tensors, baichuan_pieces(64000), baichuan, 1, "bin")
    made["baichuan-7b"] = Release("baichuan-7b", {"path": str(folder)}, tensors, 1e-6)

    tensors = upstream.weights(BAICHUAN2, fused=True)
    settings = {**baichuan, "pad_token": special("<unk>"), "tokenizer_class": "BaichuanTokenizer"}
    folder = upstream.write(root / "baichuan2", BAICHUAN2, tensors, baichuan_pieces(125696), settings, 1, "bin")
    made["baichuan2-7b"] = Release("baichuan2-7b", {"path": str(folder)}, tensors, 1e-6, unit_rows=True)
    return made


KINDS = ("chinese-llama-2-7b", "merged", "lora", "baichuan-7b", "baichuan2-7b")


@pytest.fixture(scope="session", params=KINDS)
def release(request: pytest.FixtureRequest, releases: dict[str, Release]) -> Release:
    return releases[request.param]
