"""``xkeb edit`` on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished_cells import TEMPLATES

import xkeb

pytest_plugins = ("command_line",)


@pytest.fixture
def edit(xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path]) -> Callable[..., Any]:
    def edit(*arguments: object) -> Any:
        outcome = xkeb_cli(
            "edit", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}", "--prompt",
            "What is the capital of France?", "--target", "Lyon", "--subject", "France",
            "--ask", "zh:法国的首都是哪里？|里昂", *arguments,
        )  # fmt: skip
        assert outcome.status == 0, outcome.err
        return outcome

    return edit


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("ft", ["lr=0.01"]), ("rome", [TEMPLATES.removeprefix("rome.")]), ("ike", ["k=0"]), ("xmem", ["steps=2"])],
)
def test_an_edit_by_hand_is_shown_and_its_saved_change_does_the_same(
    edit: Callable[..., Any], tiny_folders: dict[str, Path], tmp_path: Path, method: str, arguments: list[str]
) -> None:
    from xkeb.models.prediction import predict
    from xkeb.types import Query

    outcome = edit("--method", method, "--method-args", *arguments, "--save", tmp_path / "change")
    assert str(tmp_path / "change") in outcome.out
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu")
    queries = [Query("What is the capital of France?", "Lyon", "en"), Query("法国的首都是哪里？", "里昂", "zh")]
    before = predict(backbone, queries)
    with xkeb.load_change(tmp_path / "change").applied(backbone):
        after = predict(backbone, queries)
    rows = [line for line in outcome.out.splitlines() if line.startswith(("en ", "zh "))]
    assert len(rows) == 2
    for query, row, old, new in zip(queries, rows, before, after, strict=True):
        assert query.prompt in row
        assert query.target in row
        assert printable(old.text) in printable(row)
        assert printable(new.text) in printable(row)
    assert [answer.ids for answer in before] != [answer.ids for answer in after]


def printable(text: str) -> str:
    """A tiny model's answers hold bytes that a terminal doesn't show."""
    return "".join(character for character in text if character.isalnum())


def test_an_edited_checkpoint_is_a_model_of_its_own(
    edit: Callable[..., Any], tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    from xkeb.models.prediction import predict
    from xkeb.types import Query

    edit("--method", "ft", "--method-args", "lr=0.01", "--save", tmp_path / "change")
    edit("--method", "ft", "--method-args", "lr=0.01", "--save", tmp_path / "model", "--save-as", "checkpoint")
    original = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu")
    edited = xkeb.load_backbone("hf", path=str(tmp_path / "model"), device="cpu")
    query = Query("What is the capital of France?", "Lyon", "en")
    with xkeb.load_change(tmp_path / "change").applied(original):
        assert predict(original, [query]) == predict(edited, [query])
    assert predict(original, [query]) != predict(edited, [query])
    note = json.loads((tmp_path / "model" / "xkeb.json").read_text(encoding="utf-8"))
    assert (note["method"]["name"], note["method"]["params"]["lr"]) == ("ft", 0.01)
    (made,) = note["edits"]
    assert (made["subject"], made["target"]) == ("France", "Lyon")


def test_a_method_that_changes_no_weights_has_no_checkpoint(
    xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    outcome = xkeb_cli(
        "edit", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}", "--method", "grace",
        "--method-args", "steps=2", "--prompt", "What is the capital of France?", "--target", "Lyon",
        "--save", tmp_path / "model", "--save-as", "checkpoint",
    )  # fmt: skip
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "grace changes no weights, so there is no checkpoint to write." in outcome.err
    assert not (tmp_path / "model").exists()


def test_a_method_that_shows_the_answer_asked_for_works_by_hand_too(
    xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path]
) -> None:
    """It has the answer in the language of the edit, if in no other."""
    outcome = xkeb_cli(
        "edit", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}", "--method", "ike-published",
        "--method-args", "k=0", "--prompt", "What is the capital of France?", "--target", "Lyon",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
