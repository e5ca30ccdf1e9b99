"""The README's method is real: it edits, and is as short as it says."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
import torch
from doc_blocks import read_blocks

from xkeb.evaluation.probing import predict_edited
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import PluginManager
from xkeb.types import Edit, Query

README = Path(__file__).parents[2] / "README.md"


def method() -> str:
    return next(block.text for block in read_blocks(README, "README.md") if "class Tune" in block.text)


def test_it_registers_and_makes_the_model_say_the_target(llama: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("your_module")
    monkeypatch.setitem(sys.modules, "your_module", module)  # where dataclasses look up annotations
    exec(compile(method(), str(README), "exec"), vars(module))
    plugins = PluginManager(entry_points=False)
    module.register_editors(lambda name, thing: plugins.methods.register("your_module", name, thing))
    editor = plugins.methods.get("tune")(layer=3, steps=60, lr=0.02)
    edit = Edit("What is the capital of France?", "Lyon", "en", "France")
    (change,) = editor.edit(backbone=llama, edits=[edit])
    before = {name: parameter.clone() for name, parameter in llama.model.named_parameters()}
    query = Query(edit.prompt, edit.target, edit.language)
    assert predict_edited(llama, change, [query])[0].text == "Lyon"
    assert all(torch.equal(before[name], parameter) for name, parameter in llama.model.named_parameters())


def test_it_is_short() -> None:
    heading = next(line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("## A method"))
    (lines,) = map(int, re.findall(r"in (\d+) lines", heading))
    code = [line for line in method().splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(code) <= lines
