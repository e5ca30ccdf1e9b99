"""The README's method is real: its code runs, and edits."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
import torch

from xkeb.backbone import Backbone
from xkeb.evaluation import alone
from xkeb.plugins import Plugins
from xkeb.predict import Query
from xkeb.types import Edit

README = Path(__file__).parent.parent / "README.md"


def snippet() -> str:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if "class Tune" in block)


def test_the_method_in_the_readme_registers_and_makes_the_model_say_the_target(
    llama: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("your_module")
    monkeypatch.setitem(sys.modules, "your_module", module)  # where dataclasses look up annotations
    exec(compile(snippet(), str(README), "exec"), vars(module))
    plugins = Plugins(entry_points=False)
    module.register_editors(lambda name, thing: plugins.methods.register("your_module", name, thing))
    editor = plugins.methods.get("tune")(layer=3, steps=60, lr=0.02)
    edit = Edit("What is the capital of France?", "Lyon", "en", "France")
    (change,) = editor.edit(backbone=llama, edits=[edit])
    before = {name: parameter.clone() for name, parameter in llama.model.named_parameters()}
    query = Query(edit.prompt, edit.target, edit.language)
    assert alone(llama, change, [query])[0].text == "Lyon"
    assert all(torch.equal(before[name], parameter) for name, parameter in llama.model.named_parameters())


def test_the_method_in_the_readme_is_short() -> None:
    lines = [line for line in snippet().splitlines() if line.strip()]
    assert len(lines) <= 32
