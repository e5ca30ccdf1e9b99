"""Where a result was made: versions, hardware, commit."""

from __future__ import annotations

import functools
import os
import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from xkeb.utils.processor import processor_name

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "datasets", "sentence-transformers", "numpy", "scipy")


@functools.cache
def describe_environment(device: torch.device, products: str = "") -> dict[str, Any]:
    """What a result says of the machine and the software, and nothing of whose machine it is.

    Args:
        products: the library that makes the model's products, in words.
    """
    return {
        "xkeb": metadata.version("xkeb"),
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        **({"products": products} if products else {}),
    }


def today() -> str:
    """The date in Greenwich, which tells results of one cell apart; not cached, since runs go on over midnight."""
    return datetime.now(UTC).date().isoformat()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout this runs from, marked where it has changes; None for an installed wheel."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return f"{commit}-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *args: str) -> str:
    process = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, timeout=10, check=True)
    return process.stdout.strip()


def peak_memory(device: torch.device) -> int:
    """Bytes at the highest point of this process: of the GPU's memory, or resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
