"""How much of a checkpoint's file stays in memory while it is read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from xkeb.models.hf.checkpoint import Checkpoint

KIB = 2**14
"""Of a tensor."""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says how much of a file is in memory")
def test_of_a_mapped_file_no_more_than_a_tensor_stays(tmp_path: Path) -> None:
    wanted = {f"t{i}": torch.full((KIB * 256,), float(i + 1)) for i in range(6)}
    torch.save(wanted, tmp_path / "pytorch_model.bin")
    before, most, found = mapped_kib(), 0, {}
    for name, tensor in Checkpoint(tmp_path, (tmp_path / "pytorch_model.bin",)).tensors():
        assert torch.equal(tensor, wanted[name])
        found[name] = tensor
        most = max(most, mapped_kib() - before)
    assert KIB <= most < 3 * KIB
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)  # let go of, they are read again


def mapped_kib() -> int:
    """Of files, in this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssFile")).split()[1])
