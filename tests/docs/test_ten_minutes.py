"""docs/ten-minutes.md, tried as a newcomer would: in an empty folder, with nothing of ours but the wheel."""

from __future__ import annotations

import re
import shlex
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from built_wheel import Clean
from doc_blocks import Block, read_blocks
from doc_running import commands

from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.testing import check_method

PAGE = Path(__file__).parents[2] / "docs" / "ten-minutes.md"
BLOCKS = read_blocks(PAGE, PAGE.name)


def said(block: Block, command: str) -> str:
    """What the page says that a command printed."""
    after = block.text.split(f"$ {command}\n", 1)[1]
    return after.split("\n$ ", 1)[0].rstrip("\n")


def test_the_page_is_what_happens(clean_environment: Callable[[], Clean], small_folder: Path) -> None:
    """The model is a small one, so that the numbers are others; everything else is compared."""
    clean = clean_environment()
    places = {"llama": str(small_folder)}
    seen: dict[str, str] = {}
    for block in BLOCKS:
        if block.file:
            (clean.folder / block.file).write_text(block.as_run(places), encoding="utf-8")
        elif block.language == "console":
            for shown, command in zip(
                commands(block.text, console=True), commands(block.as_run(places), console=True), strict=True
            ):
                words = shlex.split(command)
                if words[:3] == ["pip", "install", "-e"]:
                    clean.install("-e", clean.folder / words[3])
                    continue
                done = clean.run(*words)
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
                seen[" ".join(words[:2])] = done.stdout
                if words[:2] == ["xkeb", "new"]:
                    assert done.stdout.rstrip("\n") == said(block, shown)
    assert "1 passed" in seen["pytest -q"]
    table = seen["xkeb run"]
    for method in ("shift", "ft"):
        assert re.search(rf"^bizsre_mini_en2zh\t.*\t{method}\tafter\tall\t", table, re.MULTILINE), table
    pages = [path.read_text(encoding="utf-8") for path in (clean.folder / "site").rglob("*.html")]
    assert any("shift" in page for page in pages)


def test_what_is_filled_in_is_about_25_lines() -> None:
    (method,) = (block.text for block in BLOCKS if block.file)
    body = re.search(r"^    def edit.*?(?=^@xkeb)", method, re.DOTALL | re.MULTILINE)
    assert body and len([line for line in body[0].splitlines() if line.strip()]) <= 28


def test_a_mistake_is_told_as_the_page_says(small_backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the ``finally``, an exception leaves the hook."""
    (method,) = (block.text for block in BLOCKS if block.file)
    (told,) = (block.text for block in BLOCKS if block.language == "text")
    careless = method.replace("        try:\n", "        if True:\n").replace(
        "        finally:\n", "        if True:\n"
    )
    module = types.ModuleType("careless")
    monkeypatch.setitem(sys.modules, "careless", module)
    exec(compile(careless, str(PAGE), "exec"), vars(module))
    monkeypatch.setitem(get_plugins().methods.entries, "shift", Entry(vars(module)["Shift"], "test"))
    with pytest.raises(AssertionError) as caught:
        check_method("shift", small_backbone)
    assert told.strip() in str(caught.value).splitlines()
