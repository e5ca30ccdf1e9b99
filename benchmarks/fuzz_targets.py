"""What `fuzz.py` takes apart: sound files of each kind, and the commands that read them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from fuzz_inputs import TEXTS, damaged, in_json, in_lines, in_yaml, tree
from hypothesis import strategies as st

import xkeb
from xkeb.testing.small import save_small

COLUMNS = {
    "question": "question",
    "subject": "subject",
    "answer": "answer",
    "answer_aliases": "names",
    "rephrase": "again",
    "locality_question": "other",
    "locality_answer": "other_answer",
}
TASK = {
    "task": "mine_{source}2{target}",
    "version": 1,
    "description": "{source} to {target}",
    "pairs": ["en-zh", "zh-en"],
    "dataset": {
        "format": "jsonl",
        "path": "rows.jsonl",
        "labels": {"relation": "kind"},
        "columns": {"en": COLUMNS, "zh": {"question": "zh_question", "subject": "zh_subject", "answer": "zh_answer"}},
    },
}
ROWS = [
    {
        "question": f"The capital of {name} is",
        "subject": name,
        "answer": "Y",
        "names": ["Y city", "The Y"],
        "again": f"{name} has the capital",
        "other": "The capital of nowhere is",
        "other_answer": "Z",
        "kind": "capital",
        "zh_question": f"{name}的首都是",
        "zh_subject": name,
        "zh_answer": "城",
    }
    for name in ("X", "Xs", "Xy")
]
SIMPLE_TASK = {"task": "mine", "version": 1, "dataset": "bizsre_mini", "pair": "en-zh", "description": "An edit"}
RUN: dict[str, Any] = {
    "tasks": ["bizsre_mini_en2zh"],
    "model": ["hf", "hf:other"],
    "model-args": {"path": "nowhere", "other.path": "nowhere"},
    "methods": ["ft", "rome"],
    "method-args": {"ft.lr": 0.1, "rome.context_templates": ["In short. "]},
    "metrics": ["f1", "em"],
    "protocol": "teacher_forcing",
    "limit": 3,
    "seed": 0,
    "batch-size": "auto",
    "device": "cpu",
    "dtype": "float32",
    "output": "results",
}
NOWHERE = "nowhere"
"""The model's folder, which isn't there: so that no run begins."""
OTHERS = ("cases", "prompt", "train-size", "protocol-args", "executor", "observe", "workers")
CELL = Path("bizsre_mini_en2zh") / "small" / "ft"


@dataclass
class Target:
    """A kind of input: how one is made, and the commands that read it."""

    inputs: st.SearchStrategy[Any]
    arguments: Callable[[Any, Path], list[list[str]]]
    """Writes an input below a folder, and gives the command lines."""
    sound: Sequence[Any]
    """Inputs that are as they should be: what is taken apart must be read to its end first."""
    ends: str = ""
    """What a command says of a sound input, where it ends with 2; else all end with 0."""


def make_targets(folder: Path, names: Collection[str] = ()) -> dict[str, Target]:
    """The targets of these names; by default all.

    Args:
        folder: for a small model and a result of it, from which files are taken.
    """
    makers: dict[str, Callable[[], Target]] = {
        "task": task,
        "run-file": run_file,
        "options": options,
        "records": records,
        "result": lambda: result(_finished(folder)),
        "journal": lambda: journal(_finished(folder)),
    }
    return {name: makers[name]() for name in names or makers}


def task() -> Target:
    def arguments(data: bytes, folder: Path) -> list[list[str]]:
        (folder / "mine.yaml").write_bytes(data)
        (folder / "rows.jsonl").write_bytes(in_lines(ROWS))
        return [["validate", "mine.yaml"]]

    inputs = damaged(st.one_of(tree(TASK), tree(SIMPLE_TASK)).map(in_yaml))
    return Target(inputs, arguments, [in_yaml(TASK), in_yaml(SIMPLE_TASK)])


def run_file() -> Target:
    def arguments(data: bytes, folder: Path) -> list[list[str]]:
        (folder / "run.yaml").write_bytes(data)
        return [["run", "--config", "run.yaml", "--model-args", "path=nowhere"]]  # whatever it says, nothing runs

    return Target(damaged(tree(RUN).map(in_yaml)), arguments, [in_yaml(RUN)], NOWHERE)


def options() -> Target:
    @st.composite
    def lines(draw: st.DrawFn) -> list[str]:
        chosen = {name: _on_a_line(value) for name, value in RUN.items()}
        for name in draw(st.lists(st.sampled_from(sorted(chosen)), min_size=1, max_size=2)):
            text = draw(TEXTS)
            place = draw(st.integers(0, len(chosen[name])))
            chosen[name] = draw(st.sampled_from([text, chosen[name][:place] + text + chosen[name][place:]]))
        if draw(st.booleans()):
            chosen[draw(st.sampled_from(OTHERS))] = draw(TEXTS)
        return [word for word in _words(chosen) if _can_be_given(word)]

    def arguments(words: list[str], folder: Path) -> list[list[str]]:
        return [["run", *words]]

    sound = _words({name: _on_a_line(value) for name, value in RUN.items()})
    return Target(lines(), arguments, [sound], NOWHERE)


def _words(chosen: Mapping[str, str]) -> list[str]:
    return [word for name, text in chosen.items() for word in (f"--{name}", text)]


def _can_be_given(word: str) -> bool:
    """Whether a system can hand it over: bytes without a NUL."""
    try:
        return b"\0" not in os.fsencode(word)
    except UnicodeEncodeError:
        return False


def _on_a_line(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={json.dumps(item)}" for key, item in value.items())
    return ",".join(value) if isinstance(value, list) else str(value)


def records() -> Target:
    """Those of a shipped data set's format, and the rows of a table of one's own."""
    shipped = resources.files("xkeb_plugins.datasets.bizsre_mini") / "bizsre_mini_test.json"
    sound = json.loads(shipped.read_text(encoding="utf-8"))[:2]

    def arguments(value: tuple[str, bytes], folder: Path) -> list[list[str]]:
        kind, data = value
        if kind == "table":
            (folder / "rows.jsonl").write_bytes(data)
            (folder / "mine.yaml").write_bytes(in_yaml(TASK))
            return [["validate", "mine.yaml"]]
        (folder / "bizsre").mkdir()
        (folder / "bizsre" / "bizsre_test.json").write_bytes(data)
        run = ["run", "--tasks", "bizsre_en2zh", "--model", "hf", "--model-args", "path=nowhere", "--data-dir", "."]
        return [["data", "check", "bizsre", "--data-dir", "."], run]

    inputs = st.one_of(
        damaged(tree(sound).map(in_json)).map(lambda data: ("records", data)),
        damaged(tree(ROWS).map(in_lines)).map(lambda data: ("table", data)),
    )
    return Target(inputs, arguments, [("table", in_lines(ROWS)), ("records", in_json(sound))], NOWHERE)


def result(finished: dict[str, bytes]) -> Target:
    inputs = damaged(tree(json.loads(finished["result.json"])).map(in_json))
    return Target(
        inputs, lambda data, folder: _read({**finished, "result.json": data}, folder), [finished["result.json"]]
    )


def journal(finished: dict[str, bytes]) -> Target:
    sound = [json.loads(line) for line in finished["cases.jsonl"].splitlines()]
    inputs = damaged(st.one_of(st.just(finished["cases.jsonl"]), tree(sound).map(in_lines)))
    return Target(
        inputs, lambda data, folder: _read({**finished, "cases.jsonl": data}, folder), [finished["cases.jsonl"]]
    )


def _read(files: dict[str, bytes], folder: Path) -> list[list[str]]:
    """Commands that read a result which somebody else may have made."""
    (folder / "results" / CELL).mkdir(parents=True)
    for name, data in files.items():
        (folder / "results" / CELL / name).write_bytes(data)
    path = str(Path("results") / CELL)
    return [
        ["show", path, "--cases", "0"],
        ["leaderboard", "check", "results"],
        ["merge", "results", "--output", "merged"],
        ["rescore", path, "--metrics", "em", "--output", "rescored"],
        ["compare", path, path],
    ]


def _finished(folder: Path) -> dict[str, bytes]:
    """The files of a result of a small model."""
    place = folder / "out" / CELL
    if not place.exists():
        save_small(folder / "small")
        xkeb.evaluate(
            tasks="bizsre_mini_en2zh", model="hf", methods="ft", limit=2, output=folder / "out", device="cpu",
            model_args={"path": str(folder / "small")}, method_args={"ft.steps": 2},
        )  # fmt: skip
    return {name: (place / name).read_bytes() for name in ("result.json", "cases.jsonl")}
