"""The page about lm-evaluation-harness, followed with the real package; its likelihoods against those of plain code."""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from doc_blocks import read_blocks
from doc_running import commands, reader
from transformers import AutoModelForCausalLM, AutoTokenizer

pytest.importorskip("lm_eval")
ROOT = Path(__file__).parents[2]
PAGE = "docs/harness.md"


def run(command: str) -> None:
    words = [sys.executable, "-m", "lm_eval", *shlex.split(command)[1:]]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_CACHE": str(Path("cache").resolve())}
    done = subprocess.run(words, env={**os.environ, **offline}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "|capitals|" in done.stdout


@torch.inference_mode()
def likelihoods(folder: Path, records: list[dict[str, Any]]) -> list[list[float]]:
    """Of each choice after a space, the log-probability: a pass each."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    found: list[list[float]] = []
    for record in records:
        start = len(tokenizer(record["question"])["input_ids"])
        found.append([])
        for choice in record["choices"]:
            ids = tokenizer(f"{record['question']} {choice}")["input_ids"]
            logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            found[-1].append(sum(float(logs[i - 1, ids[i]]) for i in range(start, len(ids))))
    return found


def test_one_task_before_and_after(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    places = {name: str(folder) for name, folder in tiny_folders.items()} | {"root": str(ROOT)}
    with reader(tmp_path, places) as somebody:
        harness = []
        for block in read_blocks(ROOT / PAGE, PAGE):
            somebody.follow(block)
            harness += [line for line in commands(block.text) if line.startswith("lm_eval ")]
        assert len(harness) == 2
        for command in harness:
            run(command)
        records = json.loads(Path("harness/capitals.json").read_text(encoding="utf-8"))
        seen = []
        for name in ("before", "after"):
            expected = likelihoods(Path(name), records)
            (scores,) = Path("scores", name).glob("results_*.json")
            (samples,) = Path("scores", name).glob("samples_capitals_*.jsonl")
            lines = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
            found = [[float(one[0]) for one in line["filtered_resps"]] for line in lines]
            for own, theirs in zip(expected, found, strict=True):
                assert theirs == pytest.approx(own, rel=1e-4)
            right = [row.index(max(row)) == record["label"] for row, record in zip(expected, records, strict=True)]
            accuracy = json.loads(scores.read_text(encoding="utf-8"))["results"]["capitals"]["acc,none"]
            assert math.isclose(accuracy, sum(right) / len(right))
            seen.append(found)
        assert seen[0] != seen[1]  # the edits are in the second one
