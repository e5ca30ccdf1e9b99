"""Artifacts: one process makes each, every reader of the folder can use it, and a foreign one is never used."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from xkeb.utils.artifacts import artifact_path, cached_tensors

MAKE = """
import sys, time, torch
from pathlib import Path
from xkeb.utils.artifacts import cached_tensors

def make():
    Path(sys.argv[1], f"made-by-{sys.argv[2]}").touch()
    time.sleep(1.0)
    return {"x": torch.full((3,), float(sys.argv[2]))}

Path(sys.argv[1], f"ready-{sys.argv[2]}").touch()
print(cached_tensors("things", {"a": 1}, make)["x"].tolist())
"""


def test_two_processes_make_an_artifact_once(tmp_path: Path, fresh_cache: Path) -> None:
    makers = [
        subprocess.Popen([sys.executable, "-c", MAKE, str(tmp_path), name], stdout=subprocess.PIPE, text=True)
        for name in ("1", "2")
    ]
    answers = [maker.communicate(timeout=120)[0] for maker in makers]
    assert len(list(tmp_path.glob("made-by-*"))) == 1
    assert answers[0] == answers[1]
    assert [path.suffix for path in sorted((fresh_cache / "things").iterdir())] == [".lock", ".safetensors"]


def test_a_process_that_dies_while_it_makes_one_leaves_the_next_free(tmp_path: Path, fresh_cache: Path) -> None:
    maker = subprocess.Popen([sys.executable, "-c", MAKE, str(tmp_path), "1"])
    while not (tmp_path / "made-by-1").exists():
        time.sleep(0.05)
    maker.kill()
    maker.wait()
    assert cached_tensors("things", {"a": 1}, lambda: {"x": torch.zeros(1)})["x"].tolist() == [0.0]


def test_what_a_process_left_that_was_killed_is_removed(fresh_cache: Path) -> None:
    path = artifact_path("things", {"a": 1})
    path.parent.mkdir(parents=True)
    own = [path.with_name(f".{path.stem}{end}.12-ab.part") for end in (".safetensors", ".checkpoint")]
    another = path.with_name(f".0{path.name}.12-ab.part")  # of an artifact that somebody may be making
    for part in (*own, another):
        part.touch()
    cached_tensors("things", {"a": 1}, lambda: {"x": torch.zeros(1)})
    assert [part.exists() for part in (*own, another)] == [False, False, True]


def test_an_artifact_can_be_read_by_whoever_the_umask_lets(fresh_cache: Path) -> None:
    before = os.umask(0o002)
    try:
        cached_tensors("things", {"a": 1}, lambda: {"x": torch.zeros(1)})
    finally:
        os.umask(before)
    path = artifact_path("things", {"a": 1})
    assert path.stat().st_mode & 0o777 == 0o664
    assert path.with_suffix(".lock").stat().st_mode & 0o060 == 0o060


def test_an_artifact_that_cannot_be_read_is_made_again_and_said_so(
    fresh_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached_tensors("things", {"a": 1}, lambda: {"x": torch.zeros(1)})
    artifact_path("things", {"a": 1}).write_bytes(b"half")
    with caplog.at_level(logging.WARNING):
        assert cached_tensors("things", {"a": 1}, lambda: {"x": torch.ones(1)})["x"].tolist() == [1.0]
    assert "is made again" in caplog.text
