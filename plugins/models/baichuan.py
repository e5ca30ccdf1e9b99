"""Baichuan 7B and Baichuan2 7B: LLaMA's blocks with one matrix for query, key and value.

Their own code of 2023 is neither needed nor run. Baichuan2's head is applied with rows of length one; here they are
normalised once, in float32, when it is read. Licences: docs/backbones.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.nn import functional as F

from xkeb.errors import RequestError
from xkeb_plugins.models.llama import Named, plain
from xkeb_plugins.models.published import Published

FUSED = "W_pack"


@dataclass(frozen=True, slots=True)
class Baichuan(Published):
    """Baichuan-7B (vocabulary 64,000; float16)."""

    name: ClassVar[str] = "baichuan-7b"
    repository: ClassVar[str] = "baichuan-inc/Baichuan-7B"
    n_bytes: ClassVar[int] = 14_001_000_000
    architecture: ClassVar[str] = "BaiChuanForCausalLM"
    vocabulary: ClassVar[int] = 64_000
    add_bos_token: ClassVar[bool] = False
    numbers: ClassVar[dict[str, Any]] = {"max_position_embeddings": 4096, "rms_norm_eps": 1e-6}
    methods: ClassVar[tuple[str, ...]] = ("ft", "ike", "kn", "rome", "memit")
    """Those of the paper's Table 4. The others run here, too."""

    def check(self, folder: Path) -> dict[str, Any]:
        upstream = Published.check(self, folder)
        if "max_position_embeddings" not in upstream:
            raise RequestError(
                f"{folder} is not {self.name}: expected rotary positions, found no max_position_embeddings "
                "(the 13B models bias their attention instead, which is not a LLaMA block)."
            )
        return upstream

    def unpack(self, name: str, tensor: torch.Tensor) -> Iterator[Named]:
        if FUSED in name:
            parts = tensor.chunk(3)
            return ((name.replace(FUSED, f"{part}_proj"), rows) for part, rows in zip("qkv", parts, strict=True))
        return plain(name, tensor)


@dataclass(frozen=True, slots=True)
class Baichuan2(Baichuan):
    """Baichuan2-7B-Base (vocabulary 125,696; bfloat16; an output head with normalised rows)."""

    name: ClassVar[str] = "baichuan2-7b"
    repository: ClassVar[str] = "baichuan-inc/Baichuan2-7B-Base"
    commit: ClassVar[str | None] = "53100086ef991f32f791c96fd7be4140054653eb"
    n_bytes: ClassVar[int] = 15_012_000_000
    architecture: ClassVar[str] = "BaichuanForCausalLM"
    vocabulary: ClassVar[int] = 125_696

    def unpack(self, name: str, tensor: torch.Tensor) -> Iterator[Named]:
        if name == "lm_head.weight":
            return iter([(name, F.normalize(tensor.float()))])
        return Baichuan.unpack(self, name, tensor)
