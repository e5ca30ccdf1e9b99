"""What can't be asked of EasyEdit's code, and what is said where it isn't installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from easyeditor_runs import EDITS, METHODS, NEWER_METHODS, installed

import xkeb
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.types import Edit
from xkeb_plugins.methods.easyeditor.package import INSTALL


@installed
@pytest.mark.parametrize(
    ("method", "options", "match"),
    [
        ("easyeditor-rome", {"stop_loss": 0.1}, "stop_loss is 0.05"),
        ("easyeditor-memit", {"stop_loss": 0.1}, "stop_loss is 0.05"),
        ("easyeditor-ft", {"stop_loss": 0.1}, "stop_loss is 0.01"),
        ("easyeditor-ike", {"k": 0}, "at least 1"),
        ("easyeditor-rome", {"tokens": "ours"}, "'easyeditor' or 'xkeb'"),
        ("easyeditor-rome", {"version": "14cea82"}, "version is 14cea82, and the installed package is 0.0.1.dev0"),
        ("easyeditor-ft", {"objective": "target_new"}, "0.0.1.dev0 hasn't: give easyeditor-ft.path"),
    ],
)
def test_options_that_its_code_has_not(method: str, options: dict[str, Any], match: str) -> None:
    with pytest.raises(RequestError, match=match):
        xkeb.load_editor(method, **options)


@installed
def test_edits_that_it_can_t_make(llama: Backbone, tiny_folders: dict[str, Path]) -> None:
    rome = xkeb.load_editor("easyeditor-rome")
    assert rome.unsupported(llama, EDITS[0]) is None
    assert "brace" in (rome.unsupported(llama, Edit("What is {Japan}?", "Peru", "en", "Japan")) or "")
    assert "subject" in (rome.unsupported(llama, Edit("What is it?", "Peru", "en", "Japan")) or "")
    with pytest.raises(RequestError, match=r"call fit\(\) first"):
        xkeb.load_editor("easyeditor-ike").edit(llama, EDITS[:1])


def test_they_are_listed_but_no_default() -> None:
    rows = {row["name"]: row for row in json.loads(cli("ls", "methods", "--json").stdout)}
    assert {name for name in rows if name.startswith("easyeditor-")} == {*METHODS, *NEWER_METHODS}
    assert all(INSTALL in rows[name]["description"] for name in METHODS)
    assert all("needs a checkout (`path`)" in rows[name]["description"] for name in NEWER_METHODS)
    assert not any(get_plugins().methods.get(name).in_paper for name in (*METHODS, *NEWER_METHODS))


def cli(*arguments: object, without: str = "") -> subprocess.CompletedProcess[str]:
    """The command line, as if the package `without` were not installed."""
    hidden = f"import sys; sys.modules[{without!r}] = None; " if without else ""
    script = f"{hidden}from xkeb.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.parametrize("package", ["easyeditor", "einops"])
def test_without_the_package(package: str, tmp_path: Path) -> None:
    listed = cli("ls", "methods", "--json", without=package)
    assert set(METHODS) <= {row["name"] for row in json.loads(listed.stdout)}
    options = ["--tasks", "bizsre_mini_en2zh", "--model", "gemma3-270m", "--methods", "easyeditor-rome"]
    done = cli("run", *options, "--output", tmp_path, without=package)
    assert done.returncode == 2
    assert f"{package} can't be found: `{INSTALL}`." in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("method", METHODS)
def test_each_of_them_says_what_is_missing(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "easyeditor", None)  # Python's own way to say that there is no such module
    with pytest.raises(RequestError, match=re.escape(f"easyeditor can't be found: `{INSTALL}`.")):
        xkeb.load_editor(method)
