"""Where a model runs, and in which precision."""

from __future__ import annotations

import torch

from xkeb.errors import RequestError


def pick_device(device: str) -> torch.device:
    """``auto`` is the first GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError as error:
        raise RequestError(f"Unknown device {device!r}: expected auto, cpu, cuda or cuda:N.") from error
    if picked.type == "cuda" and (picked.index or 0) >= torch.cuda.device_count():
        raise RequestError(
            f"There is no device {device!r} here: PyTorch sees {torch.cuda.device_count()} CUDA devices."
        )
    return picked


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """``auto`` is float32 on a CPU and bfloat16 on a GPU."""
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if dtype not in dtypes:
        raise RequestError(f"Unknown dtype {dtype!r}: expected auto, float32 or bfloat16.")
    return dtypes[dtype]
